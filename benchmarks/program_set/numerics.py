"""Numerical programs: linear algebra, transforms of functions, Fourier methods, physics, optimization."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

from benchmarks.program_set.registry import program


@program()
def per_sample_gradients() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).cuda()
    params = {name: each.detach() for name, each in model.named_parameters()}
    x, y = torch.randn(16, 8, device="cuda"), torch.randint(0, 3, (16,), device="cuda")

    def loss(params: dict[str, torch.Tensor], sample: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(model, params, (sample.unsqueeze(0),)), target.unsqueeze(0))

    grads = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, y)
    norms = torch.stack([each.flatten(1).norm(dim=1) for each in grads.values()]).norm(dim=0)
    factor = (1.0 / (norms + 1e-6)).clamp(max=1.0)
    clipped = {name: torch.einsum("b,b...->...", factor, each) / 16 for name, each in grads.items()}
    noisy = {name: each + 0.1 * torch.randn_like(each) for name, each in clipped.items()}
    print(norms.max().item(), {name: each.norm().item() for name, each in noisy.items()})


@program()
def hessians_and_jacobians() -> None:
    weight = torch.randn(4, 4, device="cuda")

    def f(x: torch.Tensor) -> torch.Tensor:
        return (weight @ x).tanh().sum() + (x**3).prod()

    x = torch.randn(4, device="cuda")
    full = hessian(f)(x)
    print(torch.linalg.eigvalsh(full).tolist(), jacrev(lambda v: weight @ v.sin())(x).trace().item())
    jacfwd(lambda v: v.cumprod(0))(x)
    _, pullback = vjp(f, x)
    _, tangent = jvp(f, (x,), (torch.ones_like(x),))
    torch.autograd.functional.hessian(f, x)
    torch.autograd.functional.jacobian(lambda v: weight @ v.exp(), x, vectorize=True)
    newton = torch.linalg.solve(full + torch.eye(4, device="cuda") * 10, pullback(torch.ones((), device="cuda"))[0])
    print(newton.norm().item(), tangent.item())


@program()
def ensembles_and_vmapped_dropout() -> None:
    models = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).cuda() for _ in range(3)]
    params, buffers = stack_module_state(models)
    base = models[0].to("meta")
    x = torch.randn(5, 4, device="cuda")
    out = vmap(lambda p, b: functional_call(base, (p, b), (x,)))(params, buffers)
    noisy = vmap(lambda row: F.dropout(row, 0.5), randomness="different")(x)
    same = vmap(lambda row: row + torch.randn(4, device="cuda"), randomness="same")(x)
    print(out.var(0).mean().item(), noisy.shape, same.shape)


@program()
def physics_informed_network() -> None:
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)).cuda()
    optimizer = torch.optim.Adam(net.parameters())
    for step in range(2):
        x = torch.rand(32, 1, device="cuda", requires_grad=True)
        t = torch.rand(32, 1, device="cuda", requires_grad=True)
        u = net(torch.cat([x, t], 1))
        u_x, u_t = torch.autograd.grad(u, (x, t), torch.ones_like(u), create_graph=True)
        u_xx = torch.autograd.grad(u_x, x, torch.ones_like(u_x), create_graph=True)[0]
        loss = (u_t + u * u_x - 0.01 / torch.pi * u_xx).pow(2).mean() + u[x < 0.1].pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 1 == 0:
            print(f"epoch {step}, loss {loss:.5f}")


@program()
def linear_algebra_tour() -> None:
    a = torch.randn(32, 32, device="cuda")
    spd = a @ a.mT + 32 * torch.eye(32, device="cuda")
    factor = torch.linalg.cholesky(spd)
    solution = torch.cholesky_solve(a[:, :2], factor)
    left, values, right = torch.linalg.svd(a, full_matrices=False)
    rank = int((values > 1e-5 * values[0]).sum())
    q, r = torch.linalg.qr(a)
    lu, pivots = torch.linalg.lu_factor(spd)
    torch.linalg.lu_solve(lu, pivots, a)
    sign, logdet = torch.linalg.slogdet(spd)
    condition = torch.linalg.cond(spd)
    torch.matrix_exp(a * 0.01)
    torch.matrix_exp(a * 10)
    general = torch.linalg.eig(a).eigenvalues
    inverse = torch.linalg.inv(spd)
    torch.linalg.pinv(a[:, :8])
    torch.linalg.lstsq(a[:, :4], a[:, :1])
    torch.svd_lowrank(a, q=4)
    torch.pca_lowrank(a, q=4)
    print(rank, logdet.item(), condition.item(), general.abs().max().item(), torch.dist(inverse @ spd, q @ q.mT).item())
    print(solution.shape, right.shape, left.shape, r.shape, sign.item())
    spd.requires_grad_()
    (torch.linalg.slogdet(spd)[1] + torch.linalg.eigvalsh(spd).sum() + torch.linalg.inv(spd).trace()).backward()


@program()
def batched_least_squares_ransac() -> None:
    x = torch.randn(100, 3, device="cuda", dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5], device="cuda", dtype=torch.float64)
    y[::7] += 10
    picks = torch.stack([torch.randperm(100, device="cuda")[:4] for _ in range(8)])
    candidates = torch.linalg.lstsq(x[picks], y[picks].unsqueeze(-1)).solution.squeeze(-1)
    inliers = (x @ candidates.T - y[:, None]).abs() < 0.1
    best = inliers.sum(0).argmax()
    kept = inliers[:, best]
    refined = torch.linalg.lstsq(x[kept], y[kept].unsqueeze(-1)).solution
    np.testing.assert_allclose(refined.squeeze().cpu().numpy(), [1.0, -2.0, 0.5], atol=1e-3)


@program()
def gram_schmidt_power_iteration() -> None:
    a = torch.randn(64, 64, device="cuda")
    a = a @ a.T
    v = torch.randn(64, device="cuda")
    previous = None
    for _ in range(4):
        v = a @ v
        v /= v.norm()
        value = torch.dot(v, a @ v).item()
        if previous is not None and abs(value - previous) < 1e-12:
            break
        previous = value
    basis: list[torch.Tensor] = []
    for row in a[:4]:
        for each in basis:
            row = row - (row @ each) * each
        if row.norm() > 1e-6:
            basis.append(row / row.norm())
    torch.testing.assert_close(
        torch.stack(basis) @ torch.stack(basis).T, torch.eye(4, device="cuda"), atol=1e-2, rtol=0
    )


@program()
def fourier_pde_solver() -> None:
    size = 64
    x = torch.linspace(0, 2 * torch.pi, size + 1, device="cuda")[:-1]
    u = torch.sin(x)[:, None] * torch.cos(x)[None]
    k = torch.fft.fftfreq(size, 1 / size, device="cuda")
    laplacian = -(k[:, None] ** 2 + k[None] ** 2)
    for step in range(4):
        spectrum = torch.fft.fft2(u)
        u = torch.fft.ifft2(spectrum * torch.exp(0.01 * laplacian)).real
        if step % 2 == 0:
            print(f"{step}: energy {u.square().sum():.4f}")
        assert not torch.isnan(u).any(), "blew up"
    shifted = torch.fft.fftshift(torch.fft.fft2(u).abs())
    radius = (k[:, None] ** 2 + k[None] ** 2).sqrt().round().long()
    radial = torch.zeros(int(radius.max()) + 1, device="cuda").scatter_add_(0, radius.flatten(), shifted.flatten())
    print(radial[:4].cpu())


@program()
def n_body_and_neighbour_lists() -> None:
    position, velocity = torch.rand(64, 3, device="cuda"), torch.zeros(64, 3, device="cuda")
    for _ in range(3):
        delta = position[None] - position[:, None]
        distance = (delta.square().sum(-1) + 1e-2).sqrt()
        velocity += 1e-3 * (delta / distance[..., None] ** 3).sum(1)
        position = (position + velocity) % 1.0
        outside = (position < 0.01).any(-1)
        velocity[outside] *= -1
    cell = (position * 4).long()
    key = cell[:, 0] * 16 + cell[:, 1] * 4 + cell[:, 2]
    order = torch.argsort(key)
    cells, counts = torch.unique_consecutive(key[order], return_counts=True)
    starts = counts.cumsum(0) - counts
    pairs = torch.nonzero(torch.triu(distance < 0.2, diagonal=1))
    print(len(cells), starts[-1].item(), len(pairs), torch.histc(distance, bins=8).tolist())


@program()
def spatial_sampling_and_ray_marching() -> None:
    volume = torch.rand(1, 4, 16, 16, 16, device="cuda", requires_grad=True)
    rays = F.normalize(torch.randn(32, 3, device="cuda"), dim=-1)
    depth = torch.linspace(0, 1, 8, device="cuda")
    points = rays[:, None] * depth[None, :, None]
    samples = F.grid_sample(volume, points[None, None], align_corners=True)[0, :, 0]
    density = F.softplus(samples[0])
    alpha = 1 - torch.exp(-density * 0.1)
    through = torch.cumprod(torch.cat([torch.ones(32, 1, device="cuda"), 1 - alpha + 1e-10], -1), -1)[:, :-1]
    weights = alpha * through
    color = (weights[None] * samples[1:]).sum(-1)
    cdf = torch.cumsum(weights / weights.sum(-1, keepdim=True), -1).detach()
    fine = torch.searchsorted(cdf.contiguous(), torch.rand(32, 4, device="cuda"), right=True).clamp(max=7)
    alive = through[:, -1] > 1e-3
    loss = F.mse_loss(color[:, alive], torch.zeros_like(color[:, alive])) + depth[fine].mean()
    loss.backward()
    psnr = -10.0 * torch.log(loss) / torch.log(torch.tensor([10.0], device="cuda"))
    print(psnr.item())


@program()
def simulated_annealing_and_genetic() -> None:
    population = torch.rand(32, 8, device="cuda")
    for generation in range(3):
        fitness = -(population - 0.5).square().sum(1)
        best, index = fitness.max(0)
        parents = population[torch.multinomial(fitness.softmax(0), 32, replacement=True)]
        mask = torch.rand_like(parents) < 0.5
        children = torch.where(mask, parents, parents[torch.randperm(32, device="cuda")])
        mutate = torch.rand_like(children) < 0.1
        children[mutate] += 0.1 * torch.randn(int(mutate.sum()), device="cuda")
        children[0] = population[index]
        population = children.clamp_(0, 1)
        print(generation, best.item())


@program()
def nearest_neighbour_and_kmeans() -> None:
    data = torch.randn(256, 8, device="cuda")
    centers = data[torch.randint(256, (1,), device="cuda")]
    while centers.size(0) < 4:
        distance = torch.cdist(data, centers).min(1).values.square()
        centers = torch.cat([centers, data[torch.multinomial(distance, 1)]])
    for _ in range(3):
        labels = torch.cdist(data, centers).argmin(1)
        counts = torch.bincount(labels, minlength=4)
        sums = torch.zeros_like(centers).index_add_(0, labels, data)
        updated = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centers)
        if torch.allclose(updated, centers):
            break
        centers = updated
    values, indices = torch.topk(torch.cdist(data[:4], data), 5, largest=False)
    votes = labels[indices].mode(dim=1).values
    print(votes.cpu().numpy(), values.mean().item(), torch.quantile(values, 0.9).item())


@program()
def dynamic_programming_ctc_and_viterbi() -> None:
    emissions = torch.randn(4, 10, 5, device="cuda").log_softmax(-1)
    transitions = torch.randn(5, 5, device="cuda")
    score, history = emissions[:, 0], []
    for step in range(1, 10):
        best, index = (score[:, :, None] + transitions[None]).max(1)
        score = best + emissions[:, step]
        history.append(index)
    tags = score.argmax(-1)
    paths = [tags]
    for index in reversed(history):
        tags = index.gather(1, tags[:, None]).squeeze(1)
        paths.append(tags)
    print(torch.stack(paths[::-1], 1).tolist())
    lengths = torch.full((4,), 10, dtype=torch.long)
    loss = nn.CTCLoss(blank=0)(
        emissions.transpose(0, 1).requires_grad_(), torch.randint(1, 5, (4, 3)).cuda(), lengths, torch.tensor([3] * 4)
    )
    print(loss.item())
