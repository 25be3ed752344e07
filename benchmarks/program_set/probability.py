"""Probabilistic programs: Gaussian processes, flows, differential equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.program_set.registry import program


@program("gpytorch")
def gpytorch_exact_regression() -> None:
    import gpytorch

    class Model(gpytorch.models.ExactGP):
        def __init__(self, x: torch.Tensor, y: torch.Tensor, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean = gpytorch.means.ConstantMean()
            self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    x = torch.linspace(0, 1, 30).cuda()
    y = torch.sin(x * 6) + 0.1 * torch.randn(30).cuda()
    likelihood = gpytorch.likelihoods.GaussianLikelihood().cuda()
    model = Model(x, y, likelihood).cuda()
    model.train(), likelihood.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    for step in range(3):
        optimizer.zero_grad()
        loss = -mll(model(x), y)
        loss.backward()
        print(step, loss.item(), model.kernel.base_kernel.lengthscale.item(), likelihood.noise.item())
        optimizer.step()
    model.eval(), likelihood.eval()
    with torch.no_grad(), gpytorch.settings.fast_pred_var():
        predicted = likelihood(model(torch.linspace(0, 1, 7).cuda()))
        lower, upper = predicted.confidence_region()
        print(predicted.mean.cpu().numpy(), (upper - lower).cpu().numpy())


@program("gpytorch")
def gpytorch_variational_classification() -> None:
    import gpytorch

    class Model(gpytorch.models.ApproximateGP):
        def __init__(self, points: torch.Tensor) -> None:
            distribution = gpytorch.variational.CholeskyVariationalDistribution(points.size(0))
            super().__init__(gpytorch.variational.VariationalStrategy(self, points, distribution))
            self.mean, self.kernel = gpytorch.means.ZeroMean(), gpytorch.kernels.MaternKernel(nu=2.5)

        def forward(self, x: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    x, y = torch.rand(32, 2, device="cuda"), torch.randint(0, 2, (32,), device="cuda").float()
    model, likelihood = Model(x[:8].clone()).cuda(), gpytorch.likelihoods.BernoulliLikelihood().cuda()
    elbo = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        loss = -elbo(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    print(likelihood(model(x[:4])).probs.tolist(), loss.item())


@program("botorch", "gpytorch")
def botorch_bayesian_optimization() -> None:
    from botorch.acquisition import LogExpectedImprovement, qLogNoisyExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from botorch.utils.sampling import draw_sobol_samples
    from gpytorch.mlls import ExactMarginalLogLikelihood

    options = {"device": torch.device("cuda"), "dtype": torch.double}
    bounds = torch.stack([torch.zeros(2), torch.ones(2)]).to(**options)
    x = draw_sobol_samples(bounds, n=8, q=1, seed=0).squeeze(1)
    y = -(x - 0.5).norm(dim=-1, keepdim=True)
    model = SingleTaskGP(x, y)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs={"options": {"maxiter": 3}})
    acquisition = LogExpectedImprovement(model, best_f=y.max())
    limits = {"maxiter": 2}
    candidate, value = optimize_acqf(acquisition, bounds, q=1, num_restarts=2, raw_samples=8, options=limits)
    noisy = qLogNoisyExpectedImprovement(model, x)
    batch, _ = optimize_acqf(noisy, bounds, q=2, num_restarts=2, raw_samples=4, options=limits)
    print(candidate.tolist(), value.item(), batch.shape, x[y.argmax()].cpu())


@program("botorch", "gpytorch")
def botorch_multi_objective() -> None:
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.utils.multi_objective import Hypervolume, is_non_dominated
    from botorch.utils.transforms import normalize, standardize

    x = torch.rand(12, 2, device="cuda", dtype=torch.double)
    y = torch.stack([x.sum(-1), 1 - x.pow(2).sum(-1)], -1)
    models = ModelListGP(*(SingleTaskGP(x, standardize(y[:, [i]])) for i in range(2)))
    posterior = models.posterior(normalize(x[:3], torch.tensor([[0.0, 0], [1, 1]], device="cuda")))
    samples = posterior.rsample(torch.Size([4]))
    front = y[is_non_dominated(y)]
    volume = Hypervolume(ref_point=torch.zeros(2, device="cuda", dtype=torch.double)).compute(front)
    print(samples.mean().item(), volume, len(front))


@program("pyro")
def pyro_svi_regression() -> None:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, Predictive, Trace_ELBO
    from pyro.infer.autoguide import AutoNormal

    x = torch.randn(40, device="cuda")
    y = 2 * x + 1

    def model(x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        zero, one = torch.zeros((), device=x.device), torch.ones((), device=x.device)
        slope, bias = pyro.sample("slope", dist.Normal(zero, one)), pyro.sample("bias", dist.Normal(zero, one))
        sigma = pyro.sample("sigma", dist.HalfNormal(one))
        with pyro.plate("data", len(x)):
            return pyro.sample("obs", dist.Normal(slope * x + bias, sigma), obs=y)

    pyro.clear_param_store()
    guide = AutoNormal(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
    for _ in range(3):
        loss = svi.step(x, y)
    samples = Predictive(model, guide=guide, num_samples=4)(x)
    print(loss, {name: value.mean().item() for name, value in samples.items()})


@program("pyro")
def pyro_hamiltonian_monte_carlo() -> None:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import HMC, MCMC

    data = torch.randn(10, device="cuda") + 3

    def model() -> None:
        mean = pyro.sample("mean", dist.Normal(torch.zeros((), device="cuda"), torch.tensor(10.0, device="cuda")))
        with pyro.plate("data", 10):
            pyro.sample("obs", dist.Normal(mean, 1.0), obs=data)

    sampler = MCMC(
        HMC(model, step_size=0.1, num_steps=2, adapt_step_size=False), 3, warmup_steps=1, disable_progbar=True
    )
    sampler.run()
    print(sampler.get_samples()["mean"].mean().item())


@program("torchdiffeq")
def neural_ode_fixed_and_adaptive() -> None:
    from torchdiffeq import odeint, odeint_adjoint, odeint_event

    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.net(y**3)

    field, times = Field().cuda(), torch.linspace(0.0, 1.0, 5).to("cuda")
    start = torch.tensor([[2.0, 0.0]]).to("cuda")
    optimizer = torch.optim.RMSprop(field.parameters(), lr=1e-3)
    for solver, method in ((odeint, "rk4"), (odeint_adjoint, "rk4")):
        optimizer.zero_grad()
        loss = torch.mean(torch.abs(solver(field, start, times, method=method)))
        loss.backward()
        optimizer.step()
        print(f"{loss.item():.6f}")
    with torch.no_grad():
        odeint(lambda t, y: -y, start, times, method="dopri5", rtol=1e-3, atol=1e-4)
        odeint_event(
            lambda t, y: -torch.ones_like(y),
            torch.ones(1, device="cuda"),
            torch.tensor(0.0, device="cuda"),
            event_fn=lambda t, y: y[0] - 0.5,
            atol=1e-3,
            rtol=1e-3,
            method="dopri5",
        )


@program("torchsde")
def neural_sde() -> None:
    import torchsde

    class Sde(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def __init__(self) -> None:
            super().__init__()
            self.drift, self.spread = nn.Linear(3, 3), nn.Linear(3, 3)

        def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.drift(y)

        def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.spread(y).sigmoid()

    paths = torchsde.sdeint(
        Sde().cuda(), torch.rand(4, 3, device="cuda"), torch.linspace(0, 1, 4).cuda(), dt=0.25, method="euler"
    )
    paths.mean().backward()
    print(paths[-1].mean().item())


@program("torchcde")
def neural_cde() -> None:
    import torchcde

    times = torch.linspace(0, 1, 6, device="cuda")
    path = torch.cat([times[None, :, None].repeat(2, 1, 1), torch.rand(2, 6, 2, device="cuda")], -1)
    control = torchcde.CubicSpline(torchcde.hermite_cubic_coefficients_with_backward_differences(path))
    linear = nn.Linear(4, 12).cuda()

    def field(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return linear(z).tanh().view(2, 4, 3)

    start = torch.zeros(2, 4, device="cuda")
    out = torchcde.cdeint(X=control, func=field, z0=start, t=control.interval, adjoint=False, method="rk4")
    out[:, -1].sum().backward()


@program("nflows")
def normalizing_flow_density() -> None:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import CompositeTransform, MaskedAffineAutoregressiveTransform, RandomPermutation
    from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

    spline = PiecewiseRationalQuadraticCouplingTransform(
        torch.tensor([1, 0]), lambda i, o: ResidualNet(i, o, 8, num_blocks=1), tails="linear", tail_bound=3.0
    )
    transform = CompositeTransform([RandomPermutation(2), MaskedAffineAutoregressiveTransform(2, 8), spline])
    flow = Flow(transform, StandardNormal([2])).to("cuda")
    optimizer = torch.optim.Adam(flow.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        loss = -flow.log_prob(inputs=torch.randn(32, 2, device="cuda")).mean()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(loss.item(), flow.sample(4).cpu().numpy())


@program()
def distributions_tour() -> None:
    from torch import distributions as td

    loc = torch.zeros(4, device="cuda", requires_grad=True)
    scale = torch.rand(4, device="cuda") + 0.5
    for each in (
        td.Normal(loc, scale),
        td.LogNormal(loc, scale),
        td.Laplace(loc, scale),
        td.StudentT(torch.full((4,), 3.0, device="cuda"), loc, scale),
        td.Gamma(scale, scale),
        td.Beta(scale, scale),
        td.Dirichlet(scale),
        td.Independent(td.Normal(loc, scale), 1),
        td.MultivariateNormal(loc, torch.eye(4, device="cuda")),
        td.LowRankMultivariateNormal(loc, torch.rand(4, 1, device="cuda"), scale),
        td.TransformedDistribution(td.Normal(loc, scale), [td.TanhTransform(cache_size=1)]),
        td.MixtureSameFamily(td.Categorical(logits=scale), td.Normal(loc, scale)),
        td.Bernoulli(logits=loc),
        td.Poisson(scale),
        td.VonMises(loc, scale),
        td.RelaxedOneHotCategorical(torch.tensor(0.5, device="cuda"), logits=scale),
    ):
        value = each.sample()
        print(type(each).__name__, each.log_prob(value).sum().item())
    td.kl_divergence(td.Normal(loc, scale), td.Normal(0.0, 1.0)).sum().backward()
    td.Categorical(probs=scale / scale.sum()).entropy()


@program()
def variational_autoencoder() -> None:
    from torch import distributions as td

    encoder, decoder = nn.Linear(16, 8).cuda(), nn.Linear(4, 16).cuda()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    for _ in range(2):
        x = torch.rand(8, 16).cuda()
        mean, log_variance = encoder(x).chunk(2, -1)
        posterior = td.Normal(mean, (0.5 * log_variance).exp())
        logits = decoder(posterior.rsample())
        reconstruction = -td.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(-1)
        kl = td.kl_divergence(posterior, td.Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(-1)
        loss = (reconstruction + kl).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"loss {loss:.2f} kl {kl.mean():.2f}")


@program()
def metropolis_and_kalman_by_hand() -> None:
    state = torch.zeros(8, 2, device="cuda")
    accepted = torch.zeros(8, device="cuda")
    for _ in range(5):
        proposal = state + 0.5 * torch.randn_like(state)
        ratio = (-0.5 * proposal.pow(2).sum(-1) + 0.5 * state.pow(2).sum(-1)).exp()
        take = torch.rand(8, device="cuda") < ratio
        state[take] = proposal[take]
        accepted += take
    print("acceptance", (accepted / 5).mean().item())
    mean, covariance = torch.zeros(2, device="cuda"), torch.eye(2, device="cuda")
    move = torch.tensor([[1.0, 1.0], [0.0, 1.0]], device="cuda")
    seen = torch.tensor([[1.0, 0.0]], device="cuda")
    for measurement in torch.randn(3, device="cuda"):
        mean, covariance = move @ mean, move @ covariance @ move.T + 0.01 * torch.eye(2, device="cuda")
        innovation = seen @ covariance @ seen.T + 0.1
        gain = covariance @ seen.T @ torch.linalg.inv(innovation)
        mean = mean + (gain @ (measurement - seen @ mean)).squeeze(-1)
        covariance = (torch.eye(2, device="cuda") - gain @ seen) @ covariance
