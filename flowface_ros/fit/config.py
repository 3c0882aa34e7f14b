"""What can be set about a fit. Defaults suit a network's dense observations of one person."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Gaussian priors that hold where observations say nothing; bounds are the head model's."""

    expression_sigma: float = 0.3
    """Standard deviation of an expression coefficient around 0 (weights lie in [0, 1])."""
    blink_sigma: float = 1.0
    """The same of eyeBlinkLeft and eyeBlinkRight, which are nearly always either 0 or 1."""
    neck_sigma: float = 0.3
    """Of the neck's rotation vector, radians; shoulders that are not seen make it ambiguous."""
    jaw_sigma: float = 0.2
    """Of the jaw's rotation vector, radians."""
    eye_sigma: float = 0.3
    """Of an eye's rotation vector, radians; skin shows gaze only through the lids."""


@dataclass(frozen=True, kw_only=True)
class SteadyConfig:
    """What an aligner does not know of a person: displacements of the points on the head, the same
    for as long as it looks, and in all views but for what views have on their own. Standard
    deviations over people; `measure_steady` measures them. Axes are the head's: to its left, up,
    forward."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of all points together, metres."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of all points together about the axes, rad: a face that is taken to look up or down."""
    scale: float = 0.0
    """Of all points away from their middle, relative."""
    view_shift: float = 0.0
    """Of all points together along each axis, metres, by each view on its own."""
    view_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of all points together about the axes, rad, by each view on its own and beyond `turn`."""
    side_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The same of a face that is seen from the side, rad, times the squared sine of that angle: of
    a face that is turned away little tells how far."""
    side_scale: float = 0.0
    """Of all points away from their middle, relative, by each view on its own and from the side, as
    `side_turn`."""
    shape: float = 0.0
    """Of the head's shape as views show it, less its shift, turn and scale, by coefficient: a face
    taken for another's. It is in what is learned of a person's shape, and so in one view's depth,
    not in the head of a shape that is held: there the field has it."""
    field_variance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Variance of a smooth field along the axes, over that of the stated sigmas."""
    field_length: float = 0.04
    """Distance (m) at which the field's correlation has fallen to exp(-1/2)."""

    def __post_init__(self) -> None:
        if not self.field_length > 0:
            raise ValueError(f"steady.field_length is {self.field_length}, must be > 0")
        for name in ("shift", "turn", "view_turn", "side_turn", "field_variance"):
            values = getattr(self, name)
            if len(values) != 3 or not all(value >= 0 for value in values):
                raise ValueError(f"steady.{name} is {values}, must be three numbers >= 0")
        for name in ("scale", "view_shift", "side_scale", "shape"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"steady.{name} is {getattr(self, name)}, must be >= 0")


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """How observation errors are distributed, beyond each point's own sigma."""

    degrees_of_freedom: float = 5.0
    """Of the Student-t loss; lower means heavier tails, infinity would be least squares."""
    correlation_length: float = 0.0
    """Distance (m, over the neutral head) at which the correlated part of the errors of two points
    has fallen to exp(-1/2); 0 means independent errors. `measure_correlation` measures it."""
    correlation_share: float = 1.0
    """Share of the error variance that is correlated, in [0, 1]; the rest is independent."""
    tempering: float = 1.0
    """How far correlation weakens the observations against the priors, in [0, 1]: 1 lets them count
    as their effective number, 0 as if independent. Errors that neighbours share leave what moves
    one against the other, lids and lips, better known than the effective number says."""
    steady: SteadyConfig | None = None
    """What is wrong in all views and frames alike; None for errors that average out."""


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """When Levenberg-Marquardt stops."""

    max_iterations: int = 30
    """Of a fit from nothing; each one is one Jacobian and one linear solution."""
    max_tracking_iterations: int = 6
    """Of a fit that starts at a prior or a given state."""
    tolerance: float = 1e-3
    """Stop when the next step is expected to lower the energy (-log posterior) by less than this:
    what is then left is a few hundredths of a standard deviation. Ten times as much is seen in the
    covariance where bounds cut."""
    tracking_tolerance: float = 0.5
    """The same with a prior: a tenth of a standard deviation, which the next frame makes good."""


@dataclass(frozen=True, kw_only=True)
class AcceptConfig:
    """What a result must satisfy to be called good."""

    min_points: int = 12
    """Usable points over all views, fewer leave the pose to chance."""
    min_inlier_share: float = 0.3
    """Share of the information that must agree with the head; less is a wrong head."""
    max_position_sigma: float = 0.2
    """Standard deviation (m) of the head's position beyond which nothing is known."""
    max_rotation_sigma: float = 0.5
    """Standard deviation (rad) of the head's rotation beyond which nothing is known."""
    max_residual_scale: float = 12.0
    """Residuals over their sigmas (robust) beyond which no head explains the observations."""


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How heads and faces move between frames."""

    acceleration: float = 1.0
    """Root mean square of the head's random acceleration, m/s^2."""
    angular_acceleration: float = 8.0
    """The same of its rotation, rad/s^2."""
    acceleration_time: float = 0.1
    """How long (s) such an acceleration lasts."""
    velocity_time: float = 0.5
    """Time (s) in which the velocity of a head that is not seen fades to 1/e."""
    neck_time: float = 3.0
    """Time (s) in which the neck's rotation forgets itself; short follows fast, and jitters."""
    jaw_time: float = 0.3
    """The same of the jaw, which speech moves."""
    eye_time: float = 0.1
    """The same of the eyes, which jump."""
    lid_time: float = 0.08
    """The same of blinks and other movements of the lids."""
    expression_time: float = 1.0
    """The same of all other expression coefficients."""
    longest_gap: float = 1.0
    """Time (s) without a fit after which nothing is predicted."""


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """Which frames tell a person's shape."""

    viewpoint_deg: float = 15.0
    """Size of a viewpoint cell: cameras in the same cell see the same of a head."""
    keyframes_per_viewpoint: int = 4
    """Frames kept of one viewpoint; the errors of more of them would repeat."""
    max_keyframes: int = 40
    """In all; then only better frames of known viewpoints come in."""
    shared_error: float = 0.0
    """Share of a view's error about the shape, in [0, 1], that all views of the person have in
    common, now and later: what an aligner does not know of a face does not average out. N views
    count as N / (1 + (N - 1) shared_error)."""
    converged_gain: float = 0.01
    """Share by which the last keyframes each lowered the shape's uncertainty: below, it is done."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """When a camera's extrinsics are called wrong."""

    significance: float = 1e-3
    """Chance of a false alarm over all cameras, if errors are as modelled."""
    min_shift_px: float = 1.0
    """Shift of the head in the image (root mean square) below which a camera is not named."""
    min_frames: int = 1
    """Frames before anything is said."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Everything about a fit that is not in the observations."""

    priors: PriorConfig = field(default_factory=PriorConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    accept: AcceptConfig = field(default_factory=AcceptConfig)
    shape_count: int | None = None
    """Shape coefficients that are solved for; None for all of the head's."""
    unknown_focal: str = ""
    """Name of one camera whose focal length is solved for too; "" for none."""
    focal_sigma: float = 0.2
    """Prior standard deviation of the logarithm of that camera's focal length."""

    def __post_init__(self) -> None:
        noise = self.noise
        for name, value in (
            ("noise.degrees_of_freedom", noise.degrees_of_freedom),
            ("focal_sigma", self.focal_sigma),
            *((f"solver.{k}", v) for k, v in vars(self.solver).items()),
            *((f"priors.{k}", v) for k, v in vars(self.priors).items()),
        ):
            if not value > 0:
                raise ValueError(f"{name} is {value}, must be > 0")
        if not noise.correlation_length >= 0:
            raise ValueError(
                f"noise.correlation_length is {noise.correlation_length}, must be >= 0"
            )
        for name in ("correlation_share", "tempering"):
            if not 0 <= getattr(noise, name) <= 1:
                raise ValueError(f"noise.{name} is {getattr(noise, name)}, not in [0, 1]")
