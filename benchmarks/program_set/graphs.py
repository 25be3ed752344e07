"""Programs on graphs and geometry: message passing, pooling, samplers, equivariance."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


def _edges(nodes: int = 20, edges: int = 60) -> torch.Tensor:
    return torch.randint(0, nodes, (2, edges))


@program("torch_geometric")
def pyg_gcn_node_classification() -> None:
    from torch_geometric.data import Data
    from torch_geometric.nn import GCNConv
    from torch_geometric.transforms import NormalizeFeatures, RandomNodeSplit

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = GCNConv(8, 16, cached=True), GCNConv(16, 3)

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
            return self.second(F.dropout(self.first(x, edge_index).relu(), training=self.training), edge_index)

    data = NormalizeFeatures()(Data(x=torch.rand(20, 8), edge_index=_edges(), y=torch.randint(0, 3, (20,))))
    data = RandomNodeSplit(num_val=4, num_test=4)(data).to("cuda")
    model = Net().to("cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for epoch in range(2):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        model.eval()
        pred = model(data.x, data.edge_index).argmax(dim=1)
        accuracies = []
        for mask in (data.train_mask, data.val_mask, data.test_mask):
            accuracies.append(int((pred[mask] == data.y[mask]).sum()) / int(mask.sum()))  # noqa: PERF401
        print(epoch, float(loss), accuracies)


@program("torch_geometric")
def pyg_graph_classification_with_pooling() -> None:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GINConv, SAGPooling, global_max_pool, global_mean_pool

    graphs = [Data(x=torch.rand(6, 4), edge_index=_edges(6, 12), y=torch.tensor(i % 2)) for i in range(8)]
    conv = GINConv(nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))).cuda()
    pool, head = SAGPooling(16, ratio=0.5).cuda(), nn.Linear(32, 2).cuda()
    optimizer = torch.optim.Adam([*conv.parameters(), *pool.parameters(), *head.parameters()])
    correct = 0
    for batch in DataLoader(graphs, batch_size=4, shuffle=True):
        batch = batch.to("cuda")
        x = conv(batch.x, batch.edge_index).relu()
        x, _, _, index, _, _ = pool(x, batch.edge_index, batch=batch.batch)
        out = head(torch.cat([global_mean_pool(x, index), global_max_pool(x, index)], 1))
        loss = F.cross_entropy(out, batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += int((out.argmax(1) == batch.y).sum())


@program("torch_geometric")
def pyg_gat_link_prediction() -> None:
    from torch_geometric.nn import GATv2Conv
    from torch_geometric.utils import negative_sampling, to_undirected

    edges = to_undirected(_edges().cuda())
    conv = GATv2Conv(8, 4, heads=2).cuda()
    x = torch.rand(20, 8, device="cuda")
    optimizer = torch.optim.Adam(conv.parameters())
    for _ in range(2):
        z = conv(x, edges)
        negative = negative_sampling(edges, num_nodes=20, num_neg_samples=30)
        both = torch.cat([edges, negative], dim=-1)
        labels = torch.cat([torch.ones(edges.size(1)), torch.zeros(negative.size(1))]).to("cuda")
        loss = F.binary_cross_entropy_with_logits((z[both[0]] * z[both[1]]).sum(-1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())


@program("torch_geometric")
def pyg_graph_utilities() -> None:
    from torch_geometric import utils

    edges = _edges().cuda()
    edges, _ = utils.remove_self_loops(edges)
    edges, weights = utils.coalesce(edges, torch.ones(edges.size(1), device="cuda"))
    looped, _ = utils.add_self_loops(edges, num_nodes=20)
    degree = utils.degree(looped[0], 20)
    dense = utils.to_dense_adj(edges, max_num_nodes=20)
    back, _ = utils.dense_to_sparse(dense)
    batch = torch.arange(4, device="cuda").repeat_interleave(5)
    padded, mask = utils.to_dense_batch(torch.rand(20, 3, device="cuda"), batch)
    weight = utils.softmax(torch.rand(edges.size(1), device="cuda"), edges[1], num_nodes=20)
    utils.subgraph(torch.arange(10, device="cuda"), edges, relabel_nodes=True, num_nodes=20)
    utils.k_hop_subgraph(3, 2, edges, num_nodes=20)
    utils.dropout_edge(edges, p=0.3)
    sums = utils.scatter(weight, edges[1], dim=0, dim_size=20, reduce="sum")
    print(back.size(1), padded.shape, mask.sum().item(), degree.max().item(), sums.mean().item(), weights.shape)
    print(utils.is_undirected(edges), utils.contains_isolated_nodes(edges, 20))


@program("torch_geometric")
def pyg_point_cloud_and_aggregations() -> None:
    from torch_geometric.nn import MeanAggregation, PointTransformerConv, Set2Set, SortAggregation, aggr
    from torch_geometric.utils import to_edge_index, to_torch_csr_tensor

    points = torch.rand(20, 3, device="cuda")
    distance = torch.cdist(points, points)
    nearest = distance.topk(4, largest=False).indices[:, 1:]
    edges = torch.stack([nearest.flatten(), torch.arange(20, device="cuda").repeat_interleave(3)])
    x = PointTransformerConv(4, 8).cuda()(torch.rand(20, 4, device="cuda"), points, edges)
    batch = torch.arange(4, device="cuda").repeat_interleave(5)
    for aggregate in (MeanAggregation(), SortAggregation(k=3), aggr.MedianAggregation(), aggr.SoftmaxAggregation()):
        aggregate(x, batch)
    Set2Set(8, processing_steps=2).cuda()(x, batch).sum().backward()
    adjacency = to_torch_csr_tensor(edges, size=(20, 20))
    rows, _ = to_edge_index(adjacency)
    print(rows.shape, (adjacency @ x).mean().item())


@program("torch_geometric")
def pyg_hetero_sage() -> None:
    from torch_geometric.data import HeteroData
    from torch_geometric.nn import HeteroConv, SAGEConv
    from torch_geometric.transforms import ToUndirected

    data = HeteroData()
    data["user"].x, data["item"].x = torch.rand(6, 4), torch.rand(9, 4)
    data["user", "buys", "item"].edge_index = torch.stack([torch.randint(0, 6, (12,)), torch.randint(0, 9, (12,))])
    data = ToUndirected()(data).to("cuda")
    conv = HeteroConv({kind: SAGEConv((-1, -1), 8) for kind in data.edge_types}, aggr="sum").to("cuda")
    out = conv(data.x_dict, data.edge_index_dict)
    sum(each.sum() for each in out.values()).backward()
    print({name: each.shape for name, each in out.items()}, data.validate())


@program()
def scatter_message_passing_by_hand() -> None:
    edges = _edges(50, 200).to("cuda")
    x = torch.randn(50, 8, device="cuda", requires_grad=True)
    source, target = edges
    degree = torch.zeros(50, device="cuda").scatter_add_(0, target, torch.ones(200, device="cuda"))
    weight = degree.pow(-0.5)
    weight[weight == float("inf")] = 0
    messages = x[source] * (weight[source] * weight[target])[:, None]
    out = torch.zeros(50, 8, device="cuda").index_add(0, target, messages)
    peak = torch.zeros(50, 8, device="cuda").scatter_reduce(
        0, target[:, None].expand(-1, 8), messages, "amax", include_self=False
    )
    (out + peak).sum().backward()
    keep = torch.unique(target, return_counts=True)
    number = int(edges.max()) + 1
    adjacency = torch.sparse_coo_tensor(edges, torch.ones(200, device="cuda"), (number, number)).coalesce()
    print(torch.sparse.mm(adjacency, x.detach()[:number]).norm().item(), keep[1].max().item())


@program("e3nn")
def e3nn_equivariant_convolution() -> None:
    from e3nn import o3
    from e3nn.math import soft_one_hot_linspace
    from e3nn.nn import FullyConnectedNet, Gate

    positions = torch.rand(12, 3, device="cuda") * 2
    source, target = torch.nonzero((torch.cdist(positions, positions) < 1.5).fill_diagonal_(False), as_tuple=True)
    vectors = positions[target] - positions[source]
    harmonics = o3.spherical_harmonics("1x0e+1x1o", vectors, normalize=True, normalization="component")
    product = o3.FullyConnectedTensorProduct("4x0e", "1x0e+1x1o", "4x0e+2x1o", shared_weights=False).to("cuda")
    radial = FullyConnectedNet([6, 16, product.weight_numel], torch.relu).to("cuda")
    basis = soft_one_hot_linspace(vectors.norm(dim=1), 0.0, 1.5, 6, basis="smooth_finite", cutoff=True)
    features = torch.randn(12, 4, device="cuda")
    messages = product(features[source], harmonics, radial(basis))
    out = torch.zeros(12, messages.size(1), device="cuda").index_add_(0, target, messages) / 3.0
    gate = Gate("4x0e", [torch.relu], "", [], "").to("cuda")
    (gate(out[:, :4]).sum() + out.pow(2).sum()).backward()
    rotation = o3.rand_matrix().to("cuda")
    print((o3.Irreps("1x1o").D_from_matrix(rotation.cpu()).cuda() @ vectors.T).norm().item())


@program("e3nn")
def e3nn_linear_and_norm_layers() -> None:
    from e3nn import o3
    from e3nn.nn import BatchNorm, NormActivation

    irreps = o3.Irreps("4x0e+2x1o+1x2e")
    linear, norm = o3.Linear(irreps, irreps).cuda(), BatchNorm(irreps).cuda()
    activation = NormActivation(irreps, torch.sigmoid).cuda()
    x = irreps.randn(8, -1).to("cuda").requires_grad_()
    optimizer = torch.optim.Adam(linear.parameters())
    for _ in range(2):
        loss = activation(norm(linear(x))).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())
