"""Secrets in the environment of the micro study, which nothing may write anywhere."""

SECRETS = {
    "WANDB_API_KEY": "5ec2e70a" * 5,  # as long as a real one
    "HF_TOKEN": "hf_5ec2e70bsecretsecretsecret",
    "AWS_SECRET_ACCESS_KEY": "5ec2e70c/secret+secret",
    "MLFLOW_TRACKING_PASSWORD": "5ec2e70d-secret",
}
