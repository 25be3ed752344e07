"""Programs that train: trainers, accelerators, adapters, optimizers, mixed precision, checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.program_set.registry import program


def _loader(size: int = 32, features: int = 16, batch: int = 8, **options: object) -> DataLoader:
    x = torch.randn(size, features)
    y = torch.randint(0, 4, (size,))
    return DataLoader(TensorDataset(x, y), batch_size=batch, **options)


def _mlp(features: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))


@program()
def plain_training_loop() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _mlp().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    for _epoch in range(2):
        model.train()
        running_loss = 0.0
        for data, target in _loader(shuffle=True):
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * data.size(0)
        model.eval()
        correct = 0
        with torch.no_grad():
            for data, target in _loader():
                data, target = data.to(device), target.to(device)
                pred = model(data).argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()


@program()
def pinned_loader_with_workers() -> None:
    model = _mlp().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses = []
    for x, y in _loader(num_workers=2, pin_memory=True):
        x = x.cuda(non_blocking=True)
        y = y.cuda(non_blocking=True)
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    print(f"mean loss {torch.stack(losses).mean():.4f}")


class _Ragged(Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randn(3 + index % 5, 8), index % 3


def _collate(batch: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sequences, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(each) for each in sequences])
    return nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths, torch.tensor(labels)


@program()
def packed_lstm_classifier() -> None:
    lstm = nn.LSTM(8, 16, num_layers=2, batch_first=True, bidirectional=True).cuda()
    head = nn.Linear(32, 3).cuda()
    optimizer = torch.optim.RMSprop([*lstm.parameters(), *head.parameters()])
    for x, lengths, y in DataLoader(_Ragged(), batch_size=4, collate_fn=_collate):
        packed = nn.utils.rnn.pack_padded_sequence(x.cuda(), lengths, batch_first=True, enforce_sorted=False)
        out, (hidden, _) = lstm(packed)
        padded, out_lengths = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        mask = torch.arange(padded.size(1), device="cuda")[None] < out_lengths.cuda()[:, None]
        pooled = (padded * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        loss = F.cross_entropy(head(pooled + torch.cat([hidden[-2], hidden[-1]], -1)), y.cuda())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(lstm.parameters(), 5.0)
        optimizer.step()


@program()
def amp_grad_scaler_accumulation() -> None:
    model = _mlp().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler("cuda")
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=8)
    for step, (x, y) in enumerate(_loader(64)):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = F.cross_entropy(model(x.to("cuda", non_blocking=True)), y.to("cuda", non_blocking=True)) / 2
        scaler.scale(loss).backward()
        if (step + 1) % 2 == 0:
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if scheduler.last_epoch < 6:
                scheduler.step()
            print(f"step {step} loss {loss.item():.3f} norm {norm:.3f} scale {scaler.get_scale()}")


@program()
def bfloat16_with_ema_and_plateau() -> None:
    model = _mlp().cuda()
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.NAdam(model.parameters())
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for x, y in _loader():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x.cuda()), y.cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update_parameters(model)
        plateau.step(loss)
    torch.optim.swa_utils.update_bn(_loader(), ema, device="cuda")


@program()
def checkpoint_save_and_resume() -> None:
    model = _mlp().cuda()
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(8, 16, device="cuda")
    model(x).square().mean().backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.pt"
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.cuda.get_rng_state()}
        torch.save(state, path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        torch.cuda.set_rng_state(checkpoint["rng"])
        on_gpu = torch.load(path, map_location="cuda", weights_only=True)
        model.load_state_dict(on_gpu["model"])
        on_host = torch.load(path, map_location=lambda storage, location: storage, weights_only=False)
    assert set(on_host["model"]) == set(model.state_dict())
    model(x).sum().backward()
    optimizer.step()


@program()
def activation_checkpointing() -> None:
    from torch.utils.checkpoint import checkpoint, checkpoint_sequential

    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Dropout(0.2)) for _ in range(4))).cuda()
    x = torch.randn(8, 16, device="cuda", requires_grad=True)
    hidden = x
    for block in blocks:
        hidden = checkpoint(block, hidden, use_reentrant=False)
    hidden.mean().backward()
    checkpoint_sequential(blocks, 2, x, use_reentrant=True).mean().backward()


@program()
def lbfgs_curve_fit() -> None:
    x = torch.linspace(-2, 2, 50, device="cuda")
    y = 1.5 * torch.exp(-0.7 * x) + 0.2
    a, b, c = (torch.tensor(1.0, device="cuda", requires_grad=True) for _ in range(3))
    optimizer = torch.optim.LBFGS([a, b, c], max_iter=5, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(a * torch.exp(-b * x) + c, y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    print(a.item(), b.item(), c.item())


@program()
def sparse_adam_embeddings() -> None:
    users = nn.Embedding(100, 8, sparse=True).cuda()
    items = nn.Embedding(200, 8, sparse=True, padding_idx=0).cuda()
    bags = nn.EmbeddingBag(50, 8, mode="sum", sparse=True).cuda()
    optimizer = torch.optim.SparseAdam([*users.parameters(), *items.parameters(), *bags.parameters()], lr=0.01)
    for _ in range(2):
        user, item = torch.randint(0, 100, (32,), device="cuda"), torch.randint(0, 200, (32,), device="cuda")
        tags, offsets = torch.randint(0, 50, (64,), device="cuda"), torch.arange(0, 64, 2, device="cuda")
        score = (users(user) * items(item)).sum(-1) + bags(tags, offsets).sum(-1)
        loss = F.binary_cross_entropy_with_logits(score, torch.rand(32, device="cuda").round())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@program()
def many_optimizers() -> None:
    for make in (
        lambda p: torch.optim.Adagrad(p),
        lambda p: torch.optim.Adadelta(p),
        lambda p: torch.optim.Adamax(p, foreach=True),
        lambda p: torch.optim.ASGD(p),
        lambda p: torch.optim.RAdam(p),
        lambda p: torch.optim.Rprop(p),
        lambda p: torch.optim.Adam(p, amsgrad=True, foreach=False),
        lambda p: torch.optim.AdamW(p, lr=torch.tensor(1e-3), foreach=True, capturable=True),
        lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
        lambda p: torch.optim.Adafactor(p),
    ):
        model = nn.Linear(8, 8).cuda()
        optimizer = make(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(4, 8, device="cuda")).pow(2).mean().backward()
            optimizer.step()


@program()
def stop_on_nan_and_log() -> None:
    torch.autograd.set_detect_anomaly(True)
    try:
        model = nn.Linear(16, 1, device="cuda")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        best = float("inf")
        for _step in range(3):
            x = torch.randn(8, 16, device="cuda")
            loss = F.huber_loss(model(x), x.sum(1, keepdim=True))
            if not torch.isfinite(loss):
                raise RuntimeError("loss is not finite")
            optimizer.zero_grad()
            loss.backward()
            total = nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
            grads = {name: each.grad.norm().item() for name, each in model.named_parameters()}
            optimizer.step()
            if loss < best:
                best = loss.item()
            print(f"{total.item():.3f}", grads)
    finally:
        torch.autograd.set_detect_anomaly(False)


@program("lightning")
def lightning_fit_and_test() -> None:
    import lightning as L  # noqa: N812

    class Classifier(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = _mlp()

        def training_step(self, batch, index):  # noqa: ANN001, ANN202
            x, y = batch
            loss = F.cross_entropy(self.model(x), y)
            self.log("train_loss", loss, prog_bar=False, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, index):  # noqa: ANN001, ANN202
            x, y = batch
            logits = self.model(x)
            self.log("val_loss", F.cross_entropy(logits, y))
            self.log("val_acc", (logits.argmax(-1) == y).float().mean())

        def configure_optimizers(self):  # noqa: ANN202
            return torch.optim.AdamW(self.parameters())

    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="gpu",
            devices=1,
            max_epochs=2,
            log_every_n_steps=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=0.5,
            num_sanity_val_steps=1,
            default_root_dir=folder,
        )
        trainer.fit(Classifier(), _loader(), _loader())
        print({name: float(value) for name, value in trainer.callback_metrics.items()})


@program("lightning")
def lightning_early_stopping_fp16() -> None:
    import lightning as L  # noqa: N812
    from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Regressor(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Linear(16, 1)

        def training_step(self, batch, index):  # noqa: ANN001, ANN202
            x, y = batch
            loss = F.mse_loss(self.net(x).squeeze(-1), y.float())
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, index):  # noqa: ANN001, ANN202
            x, y = batch
            self.log("val_loss", F.mse_loss(self.net(x).squeeze(-1), y.float()), prog_bar=True)

        def configure_optimizers(self):  # noqa: ANN202
            optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}

    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="cuda",
            devices=1,
            precision="16-mixed",
            max_epochs=2,
            logger=CSVLogger(folder),
            callbacks=[
                EarlyStopping("val_loss", patience=1),
                ModelCheckpoint(folder, monitor="val_loss", save_last=True),
                LearningRateMonitor(),
            ],
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=2,
        )
        trainer.fit(Regressor(), _loader(16), _loader(16))


@program("lightning")
def lightning_fabric_loop() -> None:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    model = _mlp()
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for x, y in fabric.setup_dataloaders(_loader()):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        fabric.print(f"{loss:.3f}")


@program("accelerate")
def accelerate_loop() -> None:
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    set_seed(1)
    accelerator = Accelerator(gradient_accumulation_steps=2, mixed_precision="bf16")
    model = _mlp()
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, _loader(), scheduler)
    total = 0.0
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        total += accelerator.gather(loss.detach()).mean().item()
    model.eval()
    for x, y in loader:
        predictions, references = accelerator.gather_for_metrics((model(x).argmax(-1), y))
        print((predictions == references).float().mean().item())
    accelerator.free_memory()


@program("accelerate", "transformers")
def accelerate_big_model_dispatch() -> None:
    import transformers as tf
    from accelerate import cpu_offload, dispatch_model, infer_auto_device_map

    config = tf.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    ids = torch.arange(10, device="cuda")[None]
    model = tf.LlamaForCausalLM(config).eval()
    model = dispatch_model(model, {**infer_auto_device_map(model, max_memory={0: "1GB", "cpu": "1GB"})})
    with torch.no_grad():
        model(ids)
        cpu_offload(tf.LlamaForCausalLM(config).eval(), execution_device=torch.device("cuda", 0))(ids)


@program("torchmetrics")
def torchmetrics_evaluation() -> None:
    import torchmetrics as tm

    metrics = tm.MetricCollection(
        {
            "acc": tm.Accuracy(task="multiclass", num_classes=4),
            "f1": tm.F1Score(task="multiclass", num_classes=4, average="macro"),
            "auroc": tm.AUROC(task="multiclass", num_classes=4),
            "confusion": tm.ConfusionMatrix(task="multiclass", num_classes=4),
            "calibration": tm.CalibrationError(task="multiclass", num_classes=4),
        }
    ).to("cuda")
    model = _mlp().cuda().eval()
    for x, y in _loader():
        with torch.no_grad():
            metrics.update(model(x.cuda()).softmax(-1), y.cuda())
    results = metrics.compute()
    print({name: value.tolist() for name, value in results.items()})
    regression = tm.MetricCollection([tm.MeanSquaredError(), tm.R2Score(), tm.PearsonCorrCoef()]).cuda()
    print(regression(torch.rand(32, device="cuda"), torch.rand(32, device="cuda")))
    mean = tm.MeanMetric().cuda()
    mean.update(torch.rand(4, device="cuda"), weight=2.0)
    print(mean.compute().item())


@program("torchmetrics")
def torchmetrics_retrieval_and_images() -> None:
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
    from torchmetrics.retrieval import RetrievalMAP, RetrievalNormalizedDCG

    indexes = torch.tensor([0, 0, 0, 1, 1, 1, 1], device="cuda")
    preds = torch.rand(7, device="cuda")
    target = torch.tensor([False, False, True, False, True, False, True], device="cuda")
    for metric in (RetrievalMAP(), RetrievalNormalizedDCG(top_k=2)):
        print(metric.to("cuda")(preds, target, indexes=indexes).item())
    image, other = torch.rand(2, 3, 32, 32, device="cuda"), torch.rand(2, 3, 32, 32, device="cuda")
    psnr = PeakSignalNoiseRatio(data_range=1.0).to("cuda")
    ssim = StructuralSimilarityIndexMeasure(data_range=1.0).cuda()
    print(psnr(image, other).item(), ssim(image, other).item())


@program("ema_pytorch")
def ema_pytorch_training() -> None:
    from ema_pytorch import EMA

    model = _mlp().cuda()
    ema = EMA(model, beta=0.99, update_after_step=1, update_every=1)
    optimizer = torch.optim.Adam(model.parameters())
    for x, y in _loader():
        optimizer.zero_grad()
        F.cross_entropy(model(x.cuda()), y.cuda()).backward()
        optimizer.step()
        ema.update()
    ema(torch.randn(2, 16, device="cuda"))


@program("higher")
def maml_with_higher() -> None:
    import higher

    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).cuda()
    meta = torch.optim.Adam(model.parameters())
    for _ in range(2):
        inner = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.rand(8, 1, device="cuda")
        meta.zero_grad()
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, diff):
            for _step in range(2):
                diff.step(F.mse_loss(fast(x), x.sin()))
            loss = F.mse_loss(fast(x), x.sin())
            loss.backward()
        meta.step()
        print(loss.item())
