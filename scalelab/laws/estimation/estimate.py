"""Point estimates: the best of a dense grid of starts, each run to convergence."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.estimation.lad import least_absolute
from scalelab.laws.estimation.objective import HUBER_95, Problem, mad_scale, robust
from scalelab.laws.estimation.solver import Solution, minimise
from scalelab.laws.registry import Array, Form, Functional, natural
from scalelab.laws.shapes.constraints import Constraints
from scalelab.laws.shapes.written import shortlist

SAME_MINIMUM = 1e-8
NEAR = 1e-3
"""Relative Newton decrement at which Huber's true Hessian takes over from the rough one."""
LOWEST = 8
"""How many starts are taken on to least squares, for the graduated path to Huber."""
LARGEST_LOG = 60.0
MANY, LOOKED_AT, ROUGH_STEPS, KEPT = 150, 600, 15, 32
"""Starts that are all run; of more: how many take rough steps, how many steps, how many stay."""
LAD_DELTA = 0.02
"""Huber threshold on the way to least absolute deviations, in robust standard deviations."""
NOISE_FLOOR = 1e-13
"""Residuals of log loss below this are rounding, not noise."""


@dataclass(frozen=True)
class Estimate:
    """One fitted law in internal coordinates, with what is needed to go on from there."""

    base: Form
    form: Form
    """The law over its free coordinates: `base` itself where nothing is fixed or tied."""
    constraints: Constraints
    objective: str
    problem: Problem
    centre: Array
    log_scale: float
    theta: Array
    value: float
    gradient_norm: float
    starts: int
    fraction_at_best: float
    other_minima: tuple[tuple[float, dict[str, float]], ...]
    converged: bool

    @property
    def params(self) -> dict[str, float]:
        """Natural parameters."""
        return natural(self.form, self.theta, self.centre, self.log_scale)

    @property
    def determined(self) -> tuple[str, ...]:
        """The parameters that the data determine: all but the fixed ones."""
        return tuple(n for n in self.base.parameters if n not in self.constraints.fixed)

    def functional(self, name: str) -> Functional:
        """A natural parameter as a function of theta."""
        return self.form.functional(name, self.centre, self.log_scale)

    def again(self, x: Array, log_loss: Array, weights: Array | None = None) -> "Estimate":
        """The same law with the same objective (and Huber threshold) on other points."""
        delta = self.problem.delta if self.objective == "huber" else None
        return estimate(self.base, x, log_loss, self.objective, delta, weights, self.constraints)

    @property
    def residuals(self) -> Array:
        """Observed minus fitted log loss (n,)."""
        return self.problem.y - self.log_loss(self.problem.u) + self.log_scale

    @property
    def dof(self) -> int:
        """Points minus parameters."""
        return len(self.problem.y) - len(self.theta)

    @property
    def sigma(self) -> float:
        """Standard deviation of the residuals of log loss; from their median size for Huber.

        With weights it is that of a point of mean weight.
        """
        if self.problem.delta is None:
            squares = (self.problem.weights * self.residuals**2).sum()
            return float(np.sqrt(squares / max(self.dof, 1)))
        return mad_scale(self.residuals, len(self.theta))

    def log_loss(self, u: Array) -> Array:
        """Fitted log loss (n,) at centred logs (n, m); NaN where the law has fallen below 0."""
        with np.errstate(invalid="ignore"):
            return np.log(self.form.value(self.theta[None], u)[0]) + self.log_scale

    def centred(self, x: Array) -> Array:
        """Centred logs (n, m) of x (n, m)."""
        return np.log(x) - self.centre


def make_problem(
    form: Form,
    x: Array,
    log_loss: Array,
    delta: float | None,
    weights: Array | None = None,
    constraints: Constraints | None = None,
) -> tuple[Problem, Array, float]:
    """Centre x (n, m) and log loss (n,): the problem, the centre (m,), the log scale.

    A law that is not centred keeps plain logs: its centre and its scale are nought.
    """
    logs = np.log(x)
    centre, log_scale = logs.mean(0), float(log_loss.mean())
    if not form.centred:
        centre, log_scale = np.zeros(logs.shape[1]), 0.0
    form = (constraints or Constraints()).apply(form, centre, log_scale)
    ones = np.ones(len(x)) if weights is None else weights
    return Problem(form, logs - centre, log_loss - log_scale, ones, delta), centre, log_scale


def estimate(
    form: Form,
    x: Array,
    log_loss: Array,
    objective: str = "least_squares",
    delta: float | None = None,
    weights: Array | None = None,
    constraints: Constraints | None = None,
) -> Estimate:
    """Fit a form to x (n, m) and log loss (n,), points in any order.

    huber without a delta takes 1.345 times the residuals' scale, found by iterating from least
    squares until the scale stands still. lad, least absolute deviations, starts from a narrow
    Huber, which also stands for it where derivatives are needed (intervals, resamples).

    Raises:
        UserError: when the best fit is not a finite minimum or a coefficient runs away.
    """
    constraints = constraints or Constraints()
    constraints.check(form)
    _check_floor(form, constraints, log_loss)

    def solve(width: float | None) -> Estimate:
        return _solve(form, x, log_loss, objective, width, weights, constraints)

    if objective == "lad":
        squares = solve(None)
        scale = mad_scale(squares.residuals, len(squares.theta))
        return _at_corner(solve(LAD_DELTA * max(scale, NOISE_FLOOR)))
    if objective == "huber" and delta is None:
        delta = _settle_delta(solve(None))
    return solve(delta)


def _at_corner(smooth: Estimate) -> Estimate:
    """The exact minimum of least absolute deviations; no direction leads down from it."""
    theta, converged = least_absolute(smooth.problem, smooth.theta)
    everything = np.zeros(1, int)
    before, after = (smooth.problem(at[None], everything)[0][0] for at in (smooth.theta, theta))
    return dataclasses.replace(
        smooth,
        theta=theta,
        value=smooth.value * float(after / before) if before > 0 else smooth.value,
        gradient_norm=0.0 if converged else smooth.gradient_norm,
        converged=converged,
    )


def _check_floor(form: Form, constraints: Constraints, log_loss: Array) -> None:
    floor = constraints.fixed.get(form.offset) if form.offset else None
    if floor is not None and float(np.exp(log_loss.min())) <= floor:
        raise UserError(
            f"loss {np.exp(log_loss.min()):.6g} is below the fixed {form.offset} {floor:g}: "
            f"expected a {form.offset} below every loss (same tokenizer, text and unit)"
        )


def _settle_delta(best: Estimate) -> float:
    """1.345 robust standard deviations, iterated from the least-squares fit until they settle."""
    theta, scale, bounds = best.theta[None], 0.0, best.form.bounds(best.problem.u)
    for _ in range(30):
        residual = best.problem.y - np.log(best.form.value(theta, best.problem.u)[0])
        old, scale = scale, max(mad_scale(residual, len(best.theta)), NOISE_FLOOR)
        if abs(scale - old) <= 1e-9 * scale:
            break
        problem = dataclasses.replace(best.problem, delta=HUBER_95 * scale)
        theta = minimise(problem, theta, *bounds).theta
    return HUBER_95 * scale


def _solve(
    base: Form,
    x: Array,
    log_loss: Array,
    objective: str,
    delta: float | None,
    weights: Array | None,
    constraints: Constraints,
) -> Estimate:
    # The mean weight is taken out and put back, so that no tolerance depends on it.
    mean_weight = 1.0 if weights is None else float(weights.mean())
    scaled = None if weights is None else weights / mean_weight
    problem, centre, log_scale = make_problem(base, x, log_loss, delta, scaled, constraints)
    form = problem.form
    starts = _starts(problem)
    if delta is not None:
        rough = _approach(problem, starts)
        lowest = rough.theta[np.argsort(rough.value, kind="stable")[:LOWEST]]
        starts = np.concatenate([rough.theta, _graduated(problem, lowest, delta)])
    found = minimise(problem, starts, *form.bounds(problem.u))
    if not np.isfinite(found.value).any():
        raise UserError(f"no start of {form.name} gave a finite objective: no law fitted")
    best = int(np.argmin(found.value))
    floor = 1e-28 * len(log_loss)
    near = found.value <= found.value[best] * (1 + SAME_MINIMUM) + floor
    return Estimate(
        base=base,
        form=form,
        constraints=constraints,
        objective=objective,
        problem=problem,
        centre=centre,
        log_scale=log_scale,
        theta=found.theta[best],
        value=float(found.value[best]) * mean_weight,
        gradient_norm=float(found.gradient_norm[best]) * mean_weight,
        starts=len(starts),
        fraction_at_best=float(near.mean()),
        other_minima=_others(found, near, form, centre, log_scale),
        converged=bool(found.converged[best] or found.value[best] <= floor),
    )


def _starts(problem: Problem) -> Array:
    """The law's starts; of a large grid, those that are best after some cheap steps each.

    A law with breaks has many poor minima. A look at the objective leaves out what is far off,
    steps with first derivatives alone show the rest, and Newton's method has few left.
    """
    form, loss = problem.form, np.exp(problem.y)
    starts = getattr(form, "dense_starts", form.starts)(problem.u, loss)
    if len(starts) <= MANY:
        return starts
    starts = shortlist(form, starts, problem.u, loss, LOOKED_AT)
    rough = dataclasses.replace(problem, delta=None, rough=True)
    found = minimise(rough, starts, *form.bounds(problem.u), ROUGH_STEPS)
    return found.theta[np.argsort(found.value, kind="stable")[:KEPT]]


def _approach(problem: Problem, starts: Array) -> Solution:
    """From each start to near a minimum of a Huber objective, past its kinks."""
    rough = dataclasses.replace(problem, rough=True)
    return minimise(rough, starts, *problem.form.bounds(problem.u), done=NEAR)


def _graduated(problem: Problem, starts: Array, delta: float) -> Array:
    """One more start (1, P): from least squares down to delta by factors of four.

    Far from a narrow Huber minimum the objective is full of kinks; this path avoids them.
    """
    bounds = problem.form.bounds(problem.u)
    found = minimise(dataclasses.replace(problem, delta=None), starts, *bounds, done=NEAR)
    theta = found.theta[[int(np.argmin(found.value))]]
    residual = problem.y - np.log(problem.form.value(theta, problem.u)[0])
    width = float(np.abs(residual).max())
    while width > delta:
        theta = minimise(dataclasses.replace(problem, delta=width), theta, *bounds, done=NEAR).theta
        width /= 4
    return theta


def _others(
    found: Solution, near: np.ndarray, form: Form, centre: Array, log_scale: float
) -> tuple[tuple[float, dict[str, float]], ...]:
    """Distinct converged minima above the best, lowest first, at most nine."""
    minima: list[tuple[float, dict[str, float]]] = []
    for place in np.argsort(found.value, kind="stable"):
        if near[place] or not found.converged[place] or len(minima) == 9:
            continue
        value = float(found.value[place])
        if not minima or value > minima[-1][0] * (1 + 1e-6):
            minima.append((value, natural(form, found.theta[place], centre, log_scale)))
    return tuple(minima)


def check_result(best: Estimate) -> None:
    """Refuse a result that is no minimum, or whose coefficients have run away (beyond e^60)."""
    if not best.converged:
        raise UserError(
            f"{best.form.name} did not converge (gradient norm {best.gradient_norm:.1e}): "
            "no law fitted"
        )
    for name, value in best.params.items():
        if not np.isfinite(value) or abs(value) > np.exp(LARGEST_LOG):
            raise UserError(
                f"{best.form.name} runs away ({name} = {value:.2g}): the points do not follow "
                "this law, so no law fitted; look for a diverged run or for mixed units"
            )


def reweighted(best: Estimate, weights: Array) -> Solution:
    """Fit again with weights (S, n), one row a fit, starting from the estimate."""
    return _again(best, dataclasses.replace(best.problem, weights=weights), len(weights))


def resimulated(best: Estimate, y: Array) -> Solution:
    """Fit again to scaled log losses (S, n) at the same x, one row a fit, from the estimate."""
    return _again(best, dataclasses.replace(best.problem, y=y), len(y))


def _again(best: Estimate, problem: Problem, count: int) -> Solution:
    start = np.repeat(best.theta[None], count, 0)
    if problem.delta is not None:
        start = _approach(problem, start).theta
    return minimise(problem, start, *best.form.bounds(problem.u))


def noise_scales(best: Estimate) -> tuple[float, float]:
    """(a, b): covariance = a (J'J)^-1, and objective / (b/2) is a squared t statistic near it.

    Huber 1981, section 7.6: a = K^2 <psi^2> / <psi'>^2 and b = K^2 <psi^2> / <psi'>, with n - P
    under the first mean and K = 1 + (P / n) var(psi') / <psi'>^2. Both are the residual variance
    for least squares. With a small delta few residuals lie inside it, so <psi'> is taken from the
    density over a wider window, less the P residuals that the fit itself draws to nought.
    """
    residuals = best.residuals
    _, psi, _ = robust(residuals, best.problem.delta)
    square = float((best.problem.weights * psi**2).sum()) / max(best.dof, 1)
    floor = NOISE_FLOOR**2
    if best.problem.delta is None:
        return max(square, floor), max(square, floor)
    count, parameters = len(residuals), len(best.theta)
    window = max(best.problem.delta, 0.7 * best.sigma * count**-0.2)
    drawn = min(parameters, count - 1) * (1 - best.problem.delta / window)
    inside = float((np.abs(residuals) <= window).sum()) - drawn
    inside = max(inside, 1.0) / max(count - drawn, 1.0)
    bend = inside * best.problem.delta / window
    square *= (1 + parameters / count * (1 - inside) / inside) ** 2
    return max(square / bend**2, floor), max(square / bend, floor)
