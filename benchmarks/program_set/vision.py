"""Programs that work with images: detection, transforms, segmentation, timm, metric learning."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


def _targets(count: int = 2, keypoints: bool = False, masks: bool = False) -> list[dict[str, torch.Tensor]]:
    targets = []
    for index in range(count):
        boxes = torch.tensor([[4.0, 4, 40, 40], [10, 12, 50, 60]]) + index
        target = {"boxes": boxes, "labels": torch.tensor([1, 1])}
        if keypoints:
            target["keypoints"] = torch.rand(2, 17, 3) * 20 + 10
            target["keypoints"][..., 2] = 1
        if masks:
            target["masks"] = torch.zeros(2, 64, 64, dtype=torch.uint8)
            target["masks"][:, 8:30, 8:30] = 1
        targets.append({name: value.to("cuda") for name, value in target.items()})
    return targets


def _detect(model: Any, **kinds: bool) -> None:
    model = model.to("cuda")
    images = [torch.rand(3, 64, 64, device="cuda"), torch.rand(3, 72, 64, device="cuda")]
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1e-4)
    model.train()
    losses = model(images, _targets(**kinds))
    loss = sum(losses.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        outputs = model(images)
    for output in outputs:
        keep = output["scores"] > 0.5
        print(len(output["boxes"][keep].cpu().tolist()))


@program("torchvision")
def torchvision_faster_rcnn() -> None:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    _detect(
        fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=96
        )
    )


@program("torchvision")
def torchvision_retinanet() -> None:
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4])
    _detect(RetinaNet(backbone, num_classes=3, min_size=64, max_size=96, anchor_generator=_anchors(4)))


def _anchors(levels: int) -> Any:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = tuple((2 ** (each + 3), int(2 ** (each + 3.5))) for each in range(levels))
    return AnchorGenerator(sizes, ((0.5, 1.0),) * levels)


@program("torchvision")
def torchvision_ssdlite() -> None:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    _detect(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3))


@program("torchvision")
def torchvision_keypoint_rcnn() -> None:
    from torchvision.models.detection import KeypointRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    _detect(KeypointRCNN(backbone, num_classes=2, min_size=64, max_size=96), keypoints=True)


@program("torchvision")
def torchvision_mask_rcnn() -> None:
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    _detect(MaskRCNN(backbone, num_classes=2, min_size=64, max_size=64), masks=True)


@program("torchvision")
def torchvision_fcos() -> None:
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4])
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,)), ((1.0,),) * 4)
    _detect(FCOS(backbone, num_classes=3, min_size=64, max_size=96, anchor_generator=anchors))


@program("torchvision")
def torchvision_transforms_v2() -> None:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop((32, 32), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
            v2.RandomRotation(15),
            v2.GaussianBlur(3),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            v2.RandomErasing(p=1.0),
        ]
    )
    image = tv_tensors.Image(torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8, device="cuda"))
    boxes = tv_tensors.BoundingBoxes(
        torch.tensor([[4, 4, 20, 20], [8, 8, 30, 40]], device="cuda"), format="XYXY", canvas_size=(48, 48)
    )
    for _ in range(2):
        transform({"image": image, "boxes": boxes})
    cleaned = v2.Compose([v2.RandomAffine(10, scale=(0.8, 1.2)), v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes()])
    cleaned({"image": image, "boxes": boxes, "labels": torch.tensor([1, 2], device="cuda")})
    batch = torch.rand(8, 3, 32, 32, device="cuda")
    v2.MixUp(num_classes=10)(batch, torch.arange(8, device="cuda"))
    v2.CutMix(num_classes=10)(batch, torch.arange(8, device="cuda"))
    v2.AutoAugment()(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, device="cuda"))


@program("torchvision")
def torchvision_box_operators() -> None:
    from torchvision import ops

    boxes = torch.rand(64, 4, device="cuda") * 50
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.rand(64, device="cuda")
    keep = ops.nms(boxes, scores, 0.5)
    boxes_kept, scores_kept = boxes[keep], scores[keep]
    ops.batched_nms(boxes, scores, torch.arange(64, device="cuda") % 4, 0.5)
    boxes_clipped = ops.clip_boxes_to_image(boxes, (60, 60))
    small = ops.remove_small_boxes(boxes_clipped, 3.0)
    iou = ops.generalized_box_iou(boxes_kept, boxes[small])
    best, index = iou.max(dim=1)
    matched = index[best > 0.1]
    features = torch.rand(2, 8, 16, 16, device="cuda")
    pooled = ops.roi_align(features, [boxes[:4] / 8, boxes[4:8] / 8], output_size=(3, 3), sampling_ratio=2)
    ops.sigmoid_focal_loss(pooled.flatten(), torch.ones_like(pooled).flatten(), reduction="mean")
    ops.masks_to_boxes(torch.ones(2, 8, 8, device="cuda", dtype=torch.bool))
    print(len(matched), scores_kept.max().item(), ops.box_area(boxes).sum().item())


@program("torchvision")
def torchvision_segmentation_epoch() -> None:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    confusion = torch.zeros(5, 5, dtype=torch.int64, device="cuda")
    for _ in range(2):
        image = torch.rand(2, 3, 64, 64).to("cuda", memory_format=torch.channels_last)
        target = torch.randint(0, 5, (2, 64, 64))
        target[:, :4] = 255
        target = target.cuda()
        output = model(image)["out"]
        loss = F.cross_entropy(output, target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        predicted = output.argmax(1).flatten()
        valid = (target.flatten() >= 0) & (target.flatten() < 5)
        index = 5 * target.flatten()[valid] + predicted[valid]
        confusion += torch.bincount(index, minlength=25).reshape(5, 5)
    iou = confusion.diag() / (confusion.sum(0) + confusion.sum(1) - confusion.diag())
    print(f"mean IoU: {iou.nanmean().item() * 100:.1f}")


@program("torchvision")
def torchvision_feature_extraction() -> None:
    from torchvision.models import resnet18
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.utils import draw_bounding_boxes, make_grid

    extractor = create_feature_extractor(resnet18(weights=None).cuda().eval(), {"layer2": "low", "layer4": "high"})
    with torch.inference_mode():
        features = extractor(torch.rand(2, 3, 64, 64, device="cuda"))
    print({name: tuple(value.shape) for name, value in features.items()})
    grid = make_grid(torch.rand(4, 3, 16, 16, device="cuda"), nrow=2, normalize=True)
    image = (grid * 255).to(torch.uint8)
    draw_bounding_boxes(image, torch.tensor([[1, 1, 10, 10]], device="cuda"))


@program("timm")
def timm_train_with_mixup() -> None:
    import timm
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import AverageMeter, ModelEmaV2, NativeScaler

    model = timm.create_model("resnet18", num_classes=10, drop_path_rate=0.1).cuda()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    scheduler = CosineLRScheduler(optimizer, t_initial=4)
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=10)
    ema, scaler, meter = ModelEmaV2(model), NativeScaler(), AverageMeter()
    for step in range(2):
        images, labels = torch.rand(4, 3, 64, 64).cuda(), torch.randint(0, 10, (4,)).cuda()
        images, targets = mixup(images, labels)
        with torch.autocast("cuda"):
            loss = SoftTargetCrossEntropy()(model(images), targets)
        optimizer.zero_grad()
        scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
        ema.update(model)
        torch.cuda.synchronize()
        meter.update(loss.item(), images.size(0))
        scheduler.step(step)


@program("timm")
def timm_validate_vit() -> None:
    import timm
    from timm.utils import accuracy

    model = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10).cuda().eval()
    model = model.to(memory_format=torch.channels_last)
    top1 = 0.0
    with torch.inference_mode():
        for _ in range(2):
            images = torch.rand(4, 3, 64, 64).pin_memory().to("cuda", non_blocking=True)
            labels = torch.randint(0, 10, (4,)).to("cuda", non_blocking=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                output = model(images)
            acc1, _acc5 = accuracy(output.detach(), labels, topk=(1, 5))
            top1 += acc1.item()
            probabilities, indices = output.float().softmax(-1).topk(3)
            for row, columns in zip(probabilities.cpu().numpy(), indices.cpu().numpy(), strict=True):
                print(dict(zip(columns.tolist(), row.tolist(), strict=True)))


@program("timm")
def timm_swin_and_efficientnet_features() -> None:
    import timm

    for name, options in (
        ("efficientnet_b0", {"features_only": True}),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 4, "num_classes": 0}),
        ("convnext_atto", {"num_classes": 5}),
    ):
        model = timm.create_model(name, **options).cuda().eval()
        with torch.no_grad():
            model(torch.rand(1, 3, 64, 64, device="cuda"))


@program("segmentation_models_pytorch")
def smp_unet_dice() -> None:
    import segmentation_models_pytorch as smp

    model = smp.Unet("resnet18", encoder_weights=None, classes=3).to("cuda")
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=2)
    focal = smp.losses.FocalLoss(mode="multiclass")
    lovasz = smp.losses.LovaszLoss(mode="multiclass")
    optimizer = torch.optim.Adam(model.parameters())
    image, mask = torch.rand(2, 3, 64, 64, device="cuda"), torch.randint(0, 3, (2, 64, 64), device="cuda")
    logits = model(image)
    loss = dice(logits, mask) + focal(logits, mask) + lovasz(logits, mask)
    loss.backward()
    optimizer.step()
    stats = smp.metrics.get_stats(logits.argmax(1), mask, mode="multiclass", num_classes=3)
    print(smp.metrics.iou_score(*stats, reduction="micro").item())


@program("kornia")
def kornia_augment_and_geometry() -> None:
    import kornia
    import kornia.augmentation as K  # noqa: N812

    images = torch.rand(4, 3, 32, 32, device="cuda")
    augment = K.AugmentationSequential(
        K.RandomAffine(15.0, p=1.0),
        K.ColorJiggle(0.2, 0.2, 0.2, 0.1, p=1.0),
        K.RandomPerspective(0.3, p=1.0),
        K.RandomErasing(p=1.0),
        data_keys=["input", "mask"],
    )
    augment(images, torch.ones(4, 1, 32, 32, device="cuda"))
    kornia.filters.gaussian_blur2d(images, (5, 5), (1.5, 1.5))
    kornia.filters.canny(images)
    source = torch.tensor([[[0.0, 0.0], [31.0, 0.0], [31.0, 31.0], [0.0, 31.0]]], device="cuda").repeat(4, 1, 1)
    homography = kornia.geometry.get_perspective_transform(source, source + torch.rand_like(source))
    kornia.geometry.warp_perspective(images, homography, (32, 32))
    kornia.color.rgb_to_lab(images)
    kornia.feature.harris_response(kornia.color.rgb_to_grayscale(images))


@program("monai")
def monai_sliding_window_segmentation() -> None:
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.metrics import DiceMetric
    from monai.networks.nets import UNet

    model = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2)).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    image, label = torch.rand(2, 1, 16, 16, 16).cuda(), torch.randint(0, 2, (2, 1, 16, 16, 16)).cuda()
    loss = DiceCELoss(to_onehot_y=True, softmax=True)(model(image), label)
    loss.backward()
    optimizer.step()
    metric = DiceMetric(include_background=False, reduction="mean")
    model.eval()
    with torch.no_grad():
        output = sliding_window_inference(torch.rand(1, 1, 24, 24, 24, device="cuda"), (16, 16, 16), 2, model)
        predicted = F.one_hot(model(image).argmax(1), 2).movedim(-1, 1)
        metric(predicted, F.one_hot(label[:, 0], 2).movedim(-1, 1))
    print(output.shape, metric.aggregate().item())


@program("pytorch_metric_learning")
def metric_learning_with_miners() -> None:
    from pytorch_metric_learning import losses, miners
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator  # noqa: F401

    trunk = nn.Linear(16, 8).cuda()
    criterion = losses.TripletMarginLoss(margin=0.2)
    arc = losses.ArcFaceLoss(num_classes=4, embedding_size=8).cuda()
    miner = miners.MultiSimilarityMiner()
    optimizer = torch.optim.Adam([*trunk.parameters(), *arc.parameters()])
    for _ in range(2):
        x, y = torch.randn(16, 16, device="cuda"), torch.arange(16, device="cuda") % 4
        embeddings = trunk(x)
        pairs = miner(embeddings, y)
        loss = criterion(embeddings, y, pairs) + arc(embeddings, y) + losses.NTXentLoss()(embeddings, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())


@program("open_clip")
def open_clip_contrastive_step() -> None:
    import open_clip
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=16, image_size=64)
    text = CLIPTextCfg(context_length=16, vocab_size=100, width=64, heads=2, layers=2)
    model = CLIP(32, vision, text).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images, tokens = torch.rand(4, 3, 64, 64, device="cuda"), torch.randint(0, 100, (4, 16), device="cuda")
    image_features, text_features, scale = model(images, tokens)
    loss = ClipLoss()(image_features, text_features, scale)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, 4.6052)
    probabilities = (100.0 * image_features @ text_features.T).softmax(dim=-1)
    print(open_clip.__version__, probabilities.cpu().tolist(), f"{scale.item():.2f}")


@program()
def detr_style_matching() -> None:
    from scipy.optimize import linear_sum_assignment

    logits = torch.randn(2, 10, 5, device="cuda", requires_grad=True)
    boxes = torch.rand(2, 10, 4, device="cuda", requires_grad=True)
    targets = [{"labels": torch.randint(0, 4, (n,)).cuda(), "boxes": torch.rand(n, 4).cuda()} for n in (3, 2)]
    with torch.no_grad():
        labels = torch.cat([each["labels"] for each in targets])
        wanted = torch.cat([each["boxes"] for each in targets])
        cost = torch.cdist(boxes.flatten(0, 1), wanted, p=1) - logits.flatten(0, 1).softmax(-1)[:, labels]
        sizes = [len(each["boxes"]) for each in targets]
        matrix = cost.view(2, 10, -1).cpu()
        pairs = [linear_sum_assignment(part[index]) for index, part in enumerate(matrix.split(sizes, -1))]
    pairs = [(torch.as_tensor(i, dtype=torch.int64), torch.as_tensor(j, dtype=torch.int64)) for i, j in pairs]
    batch = torch.cat([torch.full_like(source, index) for index, (source, _) in enumerate(pairs)])
    source = torch.cat([each for each, _ in pairs])
    classes = torch.full((2, 10), 4, dtype=torch.int64, device="cuda")
    classes[(batch, source)] = torch.cat([each["labels"][j] for each, (_, j) in zip(targets, pairs, strict=True)])
    loss = F.cross_entropy(logits.transpose(1, 2), classes)
    picked = torch.cat([each["boxes"][j] for each, (_, j) in zip(targets, pairs, strict=True)])
    loss = loss + F.l1_loss(boxes[(batch, source)], picked, reduction="sum") / max(len(picked), 1)
    loss.backward()
