"""Programs that train and run diffusion models: schedulers, pipelines, and samplers without a library."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


@program("diffusers")
def diffusers_train_unconditional() -> None:
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    model = UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).to("cuda")
    scheduler, ema = DDPMScheduler(num_train_timesteps=50), EMAModel(model.parameters())
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        clean = torch.randn(4, 3, 16, 16).to("cuda")
        noise = torch.randn(clean.shape, device="cuda")
        steps = torch.randint(0, scheduler.config.num_train_timesteps, (4,), device="cuda", dtype=torch.int64)
        loss = F.mse_loss(model(scheduler.add_noise(clean, noise, steps), steps, return_dict=False)[0], noise)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(model.parameters())
        print({"loss": loss.detach().item()})


@program("diffusers")
def diffusers_ddim_pipeline() -> None:
    from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    for pipeline in (DDIMPipeline(unet, DDIMScheduler()), DDPMPipeline(unet, DDPMScheduler())):
        pipeline = pipeline.to("cuda")
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(batch_size=2, num_inference_steps=3, generator=torch.manual_seed(0), output_type="np").images
        print(images.shape)


@program("diffusers")
def diffusers_scheduler_loops() -> None:
    from diffusers import (
        DPMSolverMultistepScheduler,
        EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler,
        FlowMatchEulerDiscreteScheduler,
        HeunDiscreteScheduler,
        LMSDiscreteScheduler,
        PNDMScheduler,
        UniPCMultistepScheduler,
    )

    for make in (
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        DPMSolverMultistepScheduler,
        HeunDiscreteScheduler,
        LMSDiscreteScheduler,
        PNDMScheduler,
        UniPCMultistepScheduler,
        FlowMatchEulerDiscreteScheduler,
    ):
        scheduler = make()
        scheduler.set_timesteps(4, device="cuda")
        latents = torch.randn(1, 4, 8, 8, device="cuda") * getattr(scheduler, "init_noise_sigma", 1.0)
        for t in scheduler.timesteps:
            model_input = (
                scheduler.scale_model_input(latents, t) if hasattr(scheduler, "scale_model_input") else latents
            )
            latents = scheduler.step(model_input * 0.1, t, latents).prev_sample
        print(make.__name__, latents.std().item())


@program("diffusers")
def diffusers_latent_text_conditioned() -> None:
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel

    vae = AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4).cuda().eval()
    vae_blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    unet = (
        UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            **vae_blocks,
        )
        .to("cuda", torch.float16)
        .eval()
    )
    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(3)
    text = torch.randn(2, 6, 16, device="cuda", dtype=torch.float16)
    generator = torch.Generator("cuda").manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, generator=generator, device="cuda", dtype=torch.float16)
    latents = latents * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            doubled = scheduler.scale_model_input(torch.cat([latents] * 2), timestep=t)
            noise = unet(doubled, t, encoder_hidden_states=text).sample
            without, within = noise.chunk(2)
            latents = scheduler.step(without + 7.5 * (within - without), t, latents).prev_sample
        image = vae.decode(latents.float() / 0.18215).sample
        image = (image / 2 + 0.5).clamp(0, 1).squeeze().permute(1, 2, 0)
        pixels = (image * 255).to(torch.uint8).cpu().numpy()
        vae.encode(torch.rand(1, 3, 16, 16, device="cuda")).latent_dist.sample()
    print(pixels.shape)


@program()
def ddpm_by_hand() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.time = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(16, 8)
            self.out = nn.Conv2d(8, 1, 3, padding=1)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            rates = torch.exp(torch.arange(8, device=t.device) * -(math.log(10000) / 7))
            angles = t[:, None].float() * rates[None]
            embedding = torch.cat([angles.sin(), angles.cos()], dim=-1)
            return self.out(F.silu(self.conv(x) + self.time(embedding)[..., None, None]))

    device, steps = "cuda", 10
    betas = torch.linspace(1e-4, 0.02, steps)
    alphas = 1 - betas
    bars = alphas.cumprod(0)
    model = Block().to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def extract(values: torch.Tensor, t: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        return values.gather(-1, t.cpu()).reshape(t.shape[0], *((1,) * (len(shape) - 1))).to(t.device)

    for _ in range(2):
        x = torch.rand(4, 1, 8, 8).to(device)
        t = torch.randint(0, steps, (4,), device=device).long()
        noise = torch.randn_like(x)
        noisy = extract(bars.sqrt(), t, x.shape) * x + extract((1 - bars).sqrt(), t, x.shape) * noise
        loss = F.smooth_l1_loss(model(noisy, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print("Loss:", loss.item())
    with torch.no_grad():
        image, frames = torch.randn(2, 1, 8, 8, device=device), []
        for index in reversed(range(steps)):
            t = torch.full((2,), index, device=device, dtype=torch.long)
            mean = image - betas[index] / (1 - bars[index]).sqrt() * model(image, t)
            image = mean / alphas[index].sqrt()
            if index:
                image = image + betas[index].sqrt() * torch.randn_like(image)
            if index % 5 == 0:
                frames.append(image.cpu().numpy())


@program()
def flow_matching_and_gan() -> None:
    field = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 2)).cuda()
    optimizer = torch.optim.AdamW(field.parameters(), foreach=True)
    for _ in range(2):
        data, noise = torch.randn(32, 2, device="cuda") + 2, torch.randn(32, 2, device="cuda")
        t = torch.rand(32, 1, device="cuda")
        loss = (field(torch.cat([t * data + (1 - t) * noise, t], -1)) - (data - noise)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    generator, critic = nn.Linear(4, 2).cuda(), nn.utils.spectral_norm(nn.Linear(2, 1)).cuda()
    g, d = torch.optim.Adam(generator.parameters()), torch.optim.Adam(critic.parameters())
    for step in range(2):
        real, fake = torch.randn(8, 2, device="cuda"), generator(torch.randn(8, 4, device="cuda"))
        mixed = torch.lerp(real, fake.detach(), torch.rand(8, 1, device="cuda")).requires_grad_()
        grads = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
        d_loss = critic(fake.detach()).mean() - critic(real).mean() + 10 * (grads.norm(dim=1) - 1).pow(2).mean()
        d.zero_grad()
        d_loss.backward()
        d.step()
        g_loss = -critic(fake).mean()
        g.zero_grad()
        g_loss.backward()
        g.step()
        print(f"[{step}/2] Loss_D: {d_loss.item():.4f} Loss_G: {g_loss.item():.4f}")
