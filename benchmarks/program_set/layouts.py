"""Programs that use sparse, nested and quantized tensors."""

from __future__ import annotations

import copy
import io

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


@program()
def sparse_coo_pipeline() -> None:
    rows, columns = torch.randint(0, 50, (300,)), torch.randint(0, 40, (300,))
    matrix = torch.sparse_coo_tensor(torch.stack([rows, columns]), torch.rand(300), (50, 40)).to("cuda")
    print(matrix)
    merged = matrix.coalesce()
    print(merged.indices().shape, merged.values().sum().item(), merged._nnz())
    dense = torch.randn(40, 8, device="cuda", requires_grad=True)
    out = torch.sparse.mm(matrix, dense)
    out.sum().backward()
    normalized = torch.sparse.softmax(merged, dim=1)
    total = torch.sparse.sum(normalized, dim=1).to_dense()
    transposed = merged.t() @ torch.randn(50, 4, device="cuda")
    scaled = merged * 2 + merged
    back = scaled.to_dense()
    again = back.to_sparse()
    picked = merged.index_select(0, torch.tensor([1, 5, 7], device="cuda"))
    product = torch.sparse.mm(merged, merged.t())
    print(total.mean().item(), transposed.shape, again._nnz(), picked.shape, product.is_coalesced())
    buffer = io.BytesIO()
    torch.save(merged, buffer)
    print(merged.cpu().to_dense().mean().item())


@program()
def sparse_csr_conjugate_gradient() -> None:
    size = 64
    dense = torch.eye(size, device="cuda") * 4
    dense += torch.diag(torch.full((size - 1,), -1.0, device="cuda"), 1)
    dense += torch.diag(torch.full((size - 1,), -1.0, device="cuda"), -1)
    matrix = dense.to_sparse_csr()
    b = torch.ones(size, device="cuda")
    x, residual = torch.zeros_like(b), b.clone()
    direction, old = residual.clone(), residual @ residual
    for _ in range(4):
        moved = matrix @ direction
        alpha = old / (direction @ moved)
        x += alpha * direction
        residual -= alpha * moved
        new = residual @ residual
        if torch.sqrt(new) < 1e-12:
            break
        direction = residual + (new / old) * direction
        old = new
    print(matrix, x.norm().item(), matrix.crow_indices()[-1].item())


@program()
def sparse_block_layouts() -> None:
    weight = torch.randn(16, 16, device="cuda") * (torch.rand(16, 16, device="cuda") > 0.7)
    blocks = weight.to_sparse_bsr((4, 4))
    columns = weight.to_sparse_csc()
    rows = torch.sparse_csr_tensor(
        torch.tensor([0, 2, 3, 3, 4]), torch.tensor([0, 2, 1, 3]), torch.tensor([1.0, 2, 3, 4]), (4, 4), device="cuda"
    )
    hidden = torch.randn(16, 8, device="cuda")
    print((blocks @ hidden).norm().item(), columns.to_dense().sum().item())
    print(rows.to_sparse_coo().coalesce().indices().tolist(), rows.values().tolist())
    sampled = torch.sparse.sampled_addmm(rows, torch.randn(4, 6, device="cuda"), torch.randn(6, 4, device="cuda"))
    print(sampled.to_dense().norm().item(), (rows @ rows).to_dense().trace().item())


@program()
def graph_laplacian_spectrum() -> None:
    points = torch.rand(40, 2, device="cuda")
    distance = torch.cdist(points, points)
    adjacency = (distance < 0.4).float().fill_diagonal_(0)
    degree = adjacency.sum(1)
    laplacian = torch.diag(degree) - adjacency
    values, vectors = torch.linalg.eigh(laplacian)
    components = (values.abs() < 1e-4).sum().item()
    embedding = vectors[:, 1:3]
    centers = embedding[torch.randperm(40, device="cuda")[:3]]
    for _ in range(3):
        labels = torch.cdist(embedding, centers).argmin(1)
        for index in range(3):
            if (labels == index).any():
                centers[index] = embedding[labels == index].mean(0)
    largest, _ = torch.lobpcg(laplacian, k=2, niter=3)
    print(components, labels.bincount(minlength=3).tolist(), largest.tolist())


@program()
def nested_jagged_attention() -> None:
    lengths = [3, 7, 5]
    parts = [torch.randn(each, 16, device="cuda") for each in lengths]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=True)
    projections, out = nn.ModuleList(nn.Linear(16, 16) for _ in range(3)).cuda(), nn.Linear(16, 16).cuda()
    query, key, value = (each(nested).unflatten(-1, (2, 8)).transpose(1, 2) for each in projections)
    attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(-2)
    result = out(attended)
    padded = result.to_padded_tensor(0.0)
    padded.sum().backward()
    print(padded.shape, [each.shape for each in result.unbind()], result.offsets().tolist())


@program()
def nested_strided_transformer() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).cuda().eval()
    x = torch.randn(3, 8, 16, device="cuda")
    padding = torch.arange(8, device="cuda")[None] >= torch.tensor([8, 5, 3], device="cuda")[:, None]
    with torch.no_grad():
        encoded = encoder(x, src_key_padding_mask=padding)
    nested = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(5, 4)], device="cuda")
    doubled = nested * 2
    dense = torch.nested.to_padded_tensor(doubled, -1.0)
    print(encoded.shape, dense.shape, nested.size(0), [each.shape for each in nested.unbind()])
    encoder.train()
    encoder(x, mask=nn.Transformer.generate_square_subsequent_mask(8, device="cuda"), is_causal=True).sum().backward()


@program()
def ragged_batching_by_hand() -> None:
    lengths = torch.tensor([3, 1, 4, 2], device="cuda")
    tokens = torch.randn(int(lengths.sum()), 8, device="cuda")
    offsets = F.pad(lengths.cumsum(0), (1, 0))
    index = torch.repeat_interleave(torch.arange(4, device="cuda"), lengths)
    position = torch.arange(tokens.size(0), device="cuda") - offsets[index]
    padded = tokens.new_zeros(4, int(lengths.max()), 8)
    padded[index, position] = tokens
    mask = torch.arange(padded.size(1), device="cuda") < lengths[:, None]
    assert torch.equal(padded[mask], tokens)
    means = torch.segment_reduce(tokens, "mean", lengths=lengths, axis=0)
    last = padded.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, 8))
    parts = torch.split(tokens, lengths.tolist())
    order = lengths.argsort(descending=True)
    packed = nn.utils.rnn.pack_sequence([parts[each] for each in order])
    print(packed.batch_sizes, means.shape, last.shape)


@program()
def quantization_by_hand() -> None:
    weight = torch.randn(32, 16, device="cuda")
    scale = weight.abs().amax(1, keepdim=True) / 127
    int8 = torch.clamp((weight / scale).round(), -128, 127).to(torch.int8)
    x = torch.randn(8, 16, device="cuda")
    error = (x @ (int8.float() * scale).T - x @ weight.T).abs().max()
    fake = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)
    channel = torch.fake_quantize_per_channel_affine(
        weight, scale.squeeze(1), torch.zeros(32, dtype=torch.int32, device="cuda"), 0, -128, 127
    )
    packed = (int8 & 0xF) | (int8 << 4)
    eight = weight.to(torch.float8_e4m3fn)
    print(error.item(), fake.mean().item(), channel.sum().item(), packed.dtype, eight.float().abs().max().item())


@program()
def quantized_tensors() -> None:
    x = torch.randn(8, 16, device="cuda")
    tensor = torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)
    channel = torch.quantize_per_channel(
        x, torch.full((8,), 0.1, device="cuda"), torch.zeros(8, device="cuda"), 0, torch.qint8
    )
    print(tensor.dequantize().sum().item(), channel.dequantize().mean().item(), tensor.q_scale())
    print(tensor.int_repr().float().std().item())


@program()
def quantization_aware_training() -> None:
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, get_default_qat_qconfig, prepare_qat

    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).train()
    model.qconfig = get_default_qat_qconfig("x86")
    prepared = prepare_qat(copy.deepcopy(model)).cuda()
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        prepared(torch.randn(4, 8, device="cuda")).sum().backward()
        optimizer.step()
    fake = FakeQuantize(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255).cuda()
    fake(torch.randn(4, 4, device="cuda"))
    print(fake.calculate_qparams())


@program("torchao")
def torchao_weight_only() -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)).to("cuda", torch.bfloat16).eval()
    quantize_(model, Int8WeightOnlyConfig())
    with torch.inference_mode():
        out = model(torch.randn(4, 64, device="cuda", dtype=torch.bfloat16))
    print(out.float().mean().item(), type(model[0].weight).__name__)


@program("einops")
def vision_transformer_with_einops() -> None:
    from einops import rearrange, reduce, repeat
    from einops.layers.torch import Rearrange

    patches = nn.Sequential(Rearrange("b c (h p) (w q) -> b (h w) (p q c)", p=4, q=4), nn.Linear(48, 32)).cuda()
    token = nn.Parameter(torch.randn(1, 1, 32, device="cuda"))
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, batch_first=True), 1).cuda()
    x = patches(torch.rand(2, 3, 16, 16, device="cuda"))
    x = encoder(torch.cat([repeat(token, "1 1 d -> b 1 d", b=2), x], 1))
    heat = rearrange(x[:, 1:].norm(dim=-1), "b (h w) -> b h w", h=4)
    score = reduce(x, "b n d -> b d", "mean")
    loss = F.cross_entropy(score, torch.tensor([3, 5]).cuda())
    loss.backward()
    best = torch.nonzero(heat == heat.amax((1, 2), keepdim=True))
    print(best.tolist(), loss.item())


@program("tensordict")
def tensordict_batches() -> None:
    from tensordict import TensorDict

    data = TensorDict({"image": torch.rand(8, 3, 4, 4), "label": torch.arange(8)}, batch_size=[8])
    on_gpu = data.pin_memory().to("cuda", non_blocking=True)
    masked = on_gpu[on_gpu["label"] > 3]
    stacked = torch.stack([on_gpu, on_gpu.clone()], 0)
    on_gpu["image"] = on_gpu["image"] * 2
    back = on_gpu.cpu()
    print(masked.batch_size, stacked.shape, back["image"].mean().item(), (on_gpu == on_gpu.clone()).all())
