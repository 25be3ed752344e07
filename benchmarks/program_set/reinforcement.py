"""Programs that learn by reinforcement: PPO, DQN and SAC without a library, and parts of torchrl."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.distributions import Categorical, Normal

from benchmarks.program_set.registry import program


class _Envs:
    """Four random environments in NumPy, as simulators outside of torch are."""

    def reset(self) -> np.ndarray:
        return np.random.randn(4, 6).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        reward = -np.abs(action).reshape(4, -1).sum(-1).astype(np.float64)
        return np.random.randn(4, 6).astype(np.float32), reward, np.random.rand(4) < 0.1


def _layer(inputs: int, outputs: int, std: float = 1.4) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


@program()
def ppo_in_one_file() -> None:
    device = torch.device("cuda")
    critic = nn.Sequential(_layer(6, 16), nn.Tanh(), _layer(16, 1)).to(device)
    actor = nn.Sequential(_layer(6, 16), nn.Tanh(), _layer(16, 3, 0.01)).to(device)
    optimizer = torch.optim.Adam([*critic.parameters(), *actor.parameters()], lr=2.5e-4, eps=1e-5)
    steps, envs = 4, _Envs()
    obs = torch.zeros((steps, 4, 6)).to(device)
    actions, logprobs, rewards, dones, values = (torch.zeros((steps, 4)).to(device) for _ in range(5))
    next_obs, next_done = torch.Tensor(envs.reset()).to(device), torch.zeros(4).to(device)
    for step in range(steps):
        obs[step], dones[step] = next_obs, next_done
        with torch.no_grad():
            dist = Categorical(logits=actor(next_obs))
            action = dist.sample()
            values[step] = critic(next_obs).flatten()
        actions[step], logprobs[step] = action, dist.log_prob(action)
        after, reward, done = envs.step(action.cpu().numpy())
        rewards[step] = torch.tensor(reward).to(device).view(-1)
        next_obs, next_done = torch.Tensor(after).to(device), torch.Tensor(done).to(device)
    with torch.no_grad():
        next_value = critic(next_obs).reshape(1, -1)
        advantages, last = torch.zeros_like(rewards).to(device), 0
        for t in reversed(range(steps)):
            alive = 1.0 - (next_done if t == steps - 1 else dones[t + 1])
            following = next_value if t == steps - 1 else values[t + 1]
            delta = rewards[t] + 0.99 * following * alive - values[t]
            advantages[t] = last = delta + 0.99 * 0.95 * alive * last
        returns = advantages + values
    b_obs, b_actions, b_logprobs = obs.reshape(-1, 6), actions.reshape(-1), logprobs.reshape(-1)
    indexes, clipfracs = np.arange(16), []
    for _epoch in range(2):
        np.random.shuffle(indexes)
        for start in range(0, 16, 8):
            batch = indexes[start : start + 8]
            dist = Categorical(logits=actor(b_obs[batch]))
            logratio = dist.log_prob(b_actions.long()[batch]) - b_logprobs[batch]
            ratio = logratio.exp()
            with torch.no_grad():
                approx_kl = ((ratio - 1) - logratio).mean()
                clipfracs += [((ratio - 1.0).abs() > 0.2).float().mean().item()]
            advantage = advantages.reshape(-1)[batch]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            policy = torch.max(-advantage * ratio, -advantage * torch.clamp(ratio, 0.8, 1.2)).mean()
            value = 0.5 * ((critic(b_obs[batch]).view(-1) - returns.reshape(-1)[batch]) ** 2).mean()
            loss = policy - 0.01 * dist.entropy().mean() + value * 0.5
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*critic.parameters(), *actor.parameters()], 0.5)
            optimizer.step()
        if approx_kl > 100.0:
            break
    predicted, true = values.reshape(-1).cpu().numpy(), returns.reshape(-1).cpu().numpy()
    print(np.var(true - predicted), value.item(), policy.item(), approx_kl.item(), np.mean(clipfracs))


@program()
def dqn_with_replay() -> None:
    device = torch.device("cuda")
    network, target = nn.Linear(6, 3).to(device), nn.Linear(6, 3).to(device)
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters())
    memory, envs = [], _Envs()
    obs = envs.reset()
    for step in range(4):
        if random.random() < 0.2:
            actions = np.random.randint(0, 3, 4)
        else:
            actions = torch.argmax(network(torch.Tensor(obs).to(device)), dim=1).cpu().numpy()
        after, reward, done = envs.step(actions)
        memory.extend(zip(obs, actions, reward, after, done, strict=True))
        obs = after
        batch = random.sample(memory, 4)
        states, chosen, rewards, following, dones = (np.stack(each) for each in zip(*batch, strict=True))
        with torch.no_grad():
            best, _ = target(torch.as_tensor(following, device=device)).max(dim=1)
            wanted = torch.as_tensor(rewards, dtype=torch.float32, device=device)
            wanted = wanted + 0.99 * best * (1 - torch.as_tensor(dones, device=device).float())
        index = torch.from_numpy(chosen).to(device).unsqueeze(1)
        old = network(torch.from_numpy(states).to(device)).gather(1, index).squeeze()
        loss = F.mse_loss(wanted, old)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2 == 0:
            print(loss.item(), old.mean().item())
            for slow, fast in zip(target.parameters(), network.parameters(), strict=True):
                slow.data.copy_(0.1 * fast.data + 0.9 * slow.data)


@program()
def sac_continuous() -> None:
    device = torch.device("cuda")
    actor = nn.Linear(6, 4).to(device)
    first, second = nn.Linear(8, 1).to(device), nn.Linear(8, 1).to(device)
    log_alpha = torch.zeros(1, requires_grad=True, device=device)
    alpha = log_alpha.exp().item()
    q_optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=1e-3)
    a_optimizer, alpha_optimizer = torch.optim.Adam(actor.parameters()), torch.optim.Adam([log_alpha])
    scale = torch.tensor(np.array([1.0, 2.0]), dtype=torch.float32, device=device)

    def act(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_std = actor(x).chunk(2, -1)
        normal = Normal(mean, log_std.tanh().exp())
        raw = normal.rsample()
        squashed = torch.tanh(raw)
        log_prob = (normal.log_prob(raw) - torch.log(scale * (1 - squashed.pow(2)) + 1e-6)).sum(1, keepdim=True)
        return squashed * scale, log_prob

    for _ in range(2):
        data = torch.from_numpy(np.random.randn(8, 6).astype(np.float32)).to(device)
        action, log_prob = act(data)
        with torch.no_grad():
            wanted = torch.min(first(torch.cat([data, action], 1)), second(torch.cat([data, action], 1)))
            wanted = torch.randn(8, 1, device=device) + 0.99 * (wanted - alpha * log_prob)
        together = torch.cat([data, action.detach()], 1)
        q_loss = F.mse_loss(first(together), wanted) + F.mse_loss(second(together), wanted)
        q_optimizer.zero_grad()
        q_loss.backward()
        q_optimizer.step()
        pi, log_prob = act(data)
        a_loss = (alpha * log_prob - first(torch.cat([data, pi], 1))).mean()
        a_optimizer.zero_grad()
        a_loss.backward()
        a_optimizer.step()
        alpha_loss = (-log_alpha.exp() * (log_prob.detach() - 2.0)).mean()
        alpha_optimizer.zero_grad()
        alpha_loss.backward()
        alpha_optimizer.step()
        alpha = log_alpha.exp().item()
        print(q_loss.item() / 2.0, a_loss.item(), alpha)


@program()
def reinforce_with_recurrent_policy() -> None:
    cell, head = nn.GRUCell(6, 8).cuda(), nn.Linear(8, 3).cuda()
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()])
    hidden, envs = torch.zeros(4, 8, device="cuda"), _Envs()
    obs, log_probs, rewards = envs.reset(), [], []
    for _ in range(3):
        hidden = cell(torch.as_tensor(obs).to("cuda"), hidden)
        dist = Categorical(F.softmax(head(hidden), dim=-1))
        action = dist.sample()
        obs, reward, done = envs.step(np.array([each.item() for each in action]))
        hidden = hidden * torch.as_tensor(~done, device="cuda").float()[:, None]
        log_probs.append(dist.log_prob(action))
        rewards.append(reward)
    returns = torch.tensor(np.cumsum(rewards[::-1], 0)[::-1].copy(), dtype=torch.float32).cuda()
    loss = torch.cat([-log_prob * value for log_prob, value in zip(log_probs, returns, strict=True)]).sum()
    loss.backward()
    optimizer.step()


@program("torchrl", "tensordict")
def torchrl_ppo_loss_and_gae() -> None:
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    policy = TensorDictModule(nn.Linear(6, 3), in_keys=["observation"], out_keys=["logits"])
    actor = ProbabilisticActor(
        policy, in_keys=["logits"], distribution_class=torch.distributions.Categorical, return_log_prob=True
    ).to("cuda")
    critic = ValueOperator(nn.Linear(6, 1), in_keys=["observation"]).to("cuda")
    data = TensorDict({"observation": torch.randn(2, 5, 6)}, batch_size=[2, 5]).to("cuda")
    with torch.no_grad():
        actor(data)
    data["next"] = TensorDict(
        {
            "observation": torch.randn(2, 5, 6, device="cuda"),
            "reward": torch.randn(2, 5, 1, device="cuda"),
            "done": torch.zeros(2, 5, 1, dtype=torch.bool, device="cuda"),
            "terminated": torch.zeros(2, 5, 1, dtype=torch.bool, device="cuda"),
        },
        batch_size=[2, 5],
    )
    GAE(gamma=0.99, lmbda=0.95, value_network=critic)(data)
    losses = ClipPPOLoss(actor, critic)(data.reshape(-1))
    (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
    print(losses["loss_objective"].item(), losses["ESS"].item())


@program("torchrl", "tensordict")
def torchrl_replay_buffer() -> None:
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer, TensorDictReplayBuffer

    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(64, device="cuda"), batch_size=8)
    ranked = TensorDictPrioritizedReplayBuffer(alpha=0.7, beta=0.5, storage=LazyTensorStorage(64), batch_size=8)
    data = TensorDict({"obs": torch.randn(16, 4), "reward": torch.randn(16)}, batch_size=[16])
    buffer.extend(data.to("cuda"))
    ranked.extend(data)
    for _ in range(2):
        batch = buffer.sample()
        other = ranked.sample().to("cuda", non_blocking=True)
        other["td_error"] = (other["reward"] - batch["reward"]).abs()
        ranked.update_tensordict_priority(other.cpu())
    print(batch["obs"].mean().item(), len(buffer))
