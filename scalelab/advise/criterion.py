"""The expected width of an interval once further runs are there, for many candidates at once.

c-optimality: the variance g' M^-1 g of one quantity with gradient g, where M is the information
matrix (Elfving 1952; Atkinson, Donev and Tobias 2007, section 10.5). A further run at x adds j j'
to M, so its effect is (g' M^-1 j)^2 / (1 + j' M^-1 j) (Fedorov 1972, section 2.5). The logarithm
of the half-width is averaged over draws of the parameters, Student's t included, since with few
degrees of freedom one run more narrows every interval whatever it says of the quantity.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.advise.state import State
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array
from scalelab.laws.uncertainty.profile import quantiles
from scalelab.laws.uncertainty.sandwich import clustered_design
from scalelab.laws.uncertainty.springs import quantities

FEW_DRAWS = 3
"""Draws over which the degrees of freedom of clustered points are averaged."""
SHORTLIST = 8
"""Candidates whose clusters are looked at, best by the information matrix first, and as many sizes
of which the best candidate is looked at."""


@dataclass(frozen=True)
class Criterion:
    """A state against candidates x (m, k). own (S, n, P), new (S, m, P): derivatives of log loss
    for each draw; slopes (S, P) of the quantity; scale (S,): of its half-width as reported.

    same (m,): the point of the study that a candidate repeats, -1 for a new one. cluster (m,):
    the cluster that it belongs to, -1 for one of its own (one a size where sizes are clusters).
    precise: score the standard error alone, without the degrees of freedom.
    """

    state: State
    x: Array
    own: Array
    new: Array
    slopes: Array
    scale: Array
    same: np.ndarray
    cluster: np.ndarray
    precise: bool = False

    def scores(self, chosen: Sequence[int] = (), allowed: np.ndarray | None = None) -> Array:
        """Mean log half-width (m,) with the chosen candidates and one more; infinite if not
        allowed (m,) or chosen already.
        """
        count = len(self.x)
        open_to = np.ones(count, bool) if allowed is None else allowed.copy()
        open_to[list(chosen)] = False
        result = np.full(count, np.inf)
        fresh = np.flatnonzero(open_to & (self.same < 0))
        if len(fresh):
            result[fresh] = self._fresh(chosen, fresh)
        for place in np.flatnonzero(open_to & (self.same >= 0)):
            result[place] = self._log_error([*chosen, int(place)]).mean()
        return self._with_dof(chosen, result)

    def score(self, chosen: Sequence[int]) -> float:
        """Mean log half-width with the chosen candidates."""
        return float(self._log_error(chosen).mean() + self._log_factor(chosen))

    def half_width(self, chosen: Sequence[int]) -> float:
        """The expected (median) half-width that the score stands for."""
        return float(np.exp(self.score(chosen)))

    def _parts(self, chosen: Sequence[int]) -> tuple[Array, Array]:
        """Derivatives (S, n + new, P) and runs behind each point (n + new,)."""
        counts = self.state.counts.copy()
        rows = []
        for place in chosen:
            if self.same[place] >= 0:
                counts[self.same[place]] += 1
            else:
                rows.append(place)
        return (
            np.concatenate([self.own, self.new[:, rows]], axis=1),
            np.append(counts, np.ones(len(rows))),
        )

    def _inverse(self, rows: Array) -> Array:
        """(M + R)^-1 for noise 1 (S, P, P), with the precision R of the wide prior."""
        matrix = np.einsum("snp,snq->spq", rows, rows)
        matrix += self.state.noise**2 * np.diag(self.state.precision)
        return np.linalg.inv(matrix)

    def _log_error(self, chosen: Sequence[int]) -> Array:
        """Log of the standard error (S,) that the fit will show, with the noise of one run."""
        rows, counts = self._parts(chosen)
        inverse = self._inverse(rows)
        pull = np.matmul(inverse, self.slopes[..., None])[..., 0]
        variance = (pull * self.slopes).sum(1)
        if (counts > 1).any():
            variance *= self._evenness(rows, counts, pull, inverse)
        return np.log(self.state.noise * self.scale) + np.log(variance) / 2

    def _evenness(self, rows: Array, counts: Array, pull: Array, inverse: Array) -> Array:
        """Factor (S,) of the variance where points are means of several runs.

        The fit weighs points alike. Ordinary intervals show the mean noise of what residuals see;
        robust ones the noise where the quantity is made.
        """
        weights = np.matmul(rows, pull[..., None])[..., 0] ** 2
        if self.state.sure.method == "profile":
            weights = 1 - np.einsum("snp,spq,snq->sn", rows, inverse, rows)
        # The noise of the study is that of its points as they are now.
        now = (1 / self.state.counts).mean()
        return (weights / counts).sum(1) / np.maximum(weights.sum(1), 1e-300) / now

    def _fresh(self, chosen: Sequence[int], fresh: np.ndarray) -> Array:
        rows, counts = self._parts(chosen)
        inverse = self._inverse(rows)
        pull = np.matmul(inverse, self.slopes[..., None])
        variance = (pull[..., 0] * self.slopes).sum(1)
        some = self.new[:, fresh]
        along = np.matmul(some, pull)[..., 0]
        spread = (np.matmul(some, inverse) * some).sum(2)
        left = np.maximum(variance[:, None] - along**2 / (1 + spread), 1e-12 * variance[:, None])
        if (counts > 1).any():
            left = left * self._evenness(rows, counts, pull[..., 0], inverse)[:, None]
        return np.log(self.state.noise) + (np.log(self.scale)[:, None] + np.log(left) / 2).mean(0)

    def _with_dof(self, chosen: Sequence[int], result: Array) -> Array:
        """Scores with the factor of Student's t; of clustered points only for the best few."""
        if self.precise or self.state.sure.method == "profile":
            fresh = self._log_factor([*chosen, int(np.argmax(self.same < 0))])
            again = self._log_factor(chosen)
            return result + np.where(self.same < 0, fresh, again)
        order = np.argsort(result, kind="stable")
        order = order[np.isfinite(result[order])]
        # A size of its own is worth a degree of freedom, so several sizes are looked at.
        each = np.sort(np.unique(self.x[order, 0], return_index=True)[1])[:SHORTLIST]
        order = order[np.unique(np.append(np.arange(min(SHORTLIST, len(order))), each))]
        told = np.full(len(result), np.inf)
        for place in order:
            told[place] = result[place] + self._log_factor([*chosen, int(place)])
        return told

    def _log_factor(self, chosen: Sequence[int]) -> float:
        """Log of Student's t times the median chi, and of what clusters hide."""
        if self.precise:
            return 0.0
        state = self.state
        fresh = [place for place in chosen if self.same[place] < 0]
        if state.sure.method == "profile":
            dof = max(len(self.own[0]) + len(fresh) - self.own.shape[2], 1)
            return float(np.log(_t_chi(state.level, np.array([float(dof)])))[0])
        u = np.concatenate([state.best.problem.u, state.best.centred(self.x[fresh])])
        member = self.members(fresh)
        logs = []
        for draw in range(min(FEW_DRAWS, len(self.own))):
            best = _moved(state.best, state.draws[draw], u)
            seen, dof = clustered_design(best, self.slopes[draw : draw + 1], member)
            factor = _t_chi(state.level, dof) / np.sqrt(np.maximum(seen, 1e-3))
            logs.append(float(np.log(factor)[0]))
        return float(np.mean(logs))

    def members(self, fresh: Sequence[int]) -> np.ndarray:
        """Cluster numbers (n + new,) with the new points among them."""
        member = self.state.sure.member.tolist()
        own: dict[float, int] = {}
        by_size = self.state.sure.clustered_by == self.state.points.columns[0]
        for place in fresh:
            if self.cluster[place] >= 0:
                member.append(int(self.cluster[place]))
                continue
            key = float(self.x[place, 0]) if by_size else float(-len(own) - 1)
            member.append(own.setdefault(key, int(max(member)) + 1))
        return np.array(member)


def criterion(state: State, x: Array) -> Criterion:
    """Prepare the candidates x (m, k) of a study's next run."""
    best, draws = state.best, state.draws
    target = state.asked.target(best)
    slopes = quantities(best, [target], len(draws))(draws, np.arange(len(draws)))[1]
    scale = np.ones(len(draws))
    if state.asked.kind == "loss":
        assert target.u is not None
        scale = best.form.value(draws, target.u[None])[:, 0] * np.exp(best.log_scale)
    same = _same(x, state.points.x)
    return Criterion(
        state=state,
        x=x,
        own=_rows(best, draws, best.problem.u),
        new=_rows(best, draws, best.centred(x)),
        slopes=slopes,
        scale=scale,
        same=same,
        cluster=_clusters(state, x, same),
    )


def _rows(best: Estimate, draws: Array, u: Array) -> Array:
    loss, slopes = best.form.gradient(draws, u)
    return np.asarray(slopes / loss[..., None])


def _same(x: Array, points: Array) -> np.ndarray:
    """The point (m,) that each candidate repeats, to rounding; -1 for a new one."""
    near = np.abs(np.log(x)[:, None] - np.log(points)[None]).max(2) < 1e-9
    return np.where(near.any(1), near.argmax(1), -1)


def _clusters(state: State, x: Array, same: np.ndarray) -> np.ndarray:
    """The cluster (m,) of each candidate: that of the point or size that it repeats, else -1."""
    member, points = state.sure.member, state.points
    found = np.where(same >= 0, member[same], -1)
    if state.sure.clustered_by == points.columns[0]:
        near = np.abs(np.log(x[:, :1]) - np.log(points.x[:, 0])) < 1e-9
        found = np.where(near.any(1), member[near.argmax(1)], -1)
    return found


def _moved(best: Estimate, theta: Array, u: Array) -> Estimate:
    """The estimate at other parameters and points, as `clustered_design` wants it."""
    y = np.log(best.form.value(theta[None], u)[0])
    problem = dataclasses.replace(best.problem, u=u, y=y, weights=np.ones(len(u)))
    return dataclasses.replace(best, problem=problem, theta=theta)


def _t_chi(level: float, dof: Array) -> Array:
    """Student's t quantile times the median of the noise that a fit shows over the true one."""
    from scipy.special import chdtri

    return quantiles(level, dof) * np.sqrt(chdtri(dof, 0.5) / dof)
