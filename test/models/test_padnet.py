# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The two-decoder network: nothing changes at step 0, disparities at four scales, one image."""

from __future__ import annotations

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.interface import Interface
from sync_perception.models.padnet import Aspp, Distillation, PadNet
from sync_perception.models.unet.resnet import ResNet
import torch
from torch.nn import functional

DIRECTIONS = ('depth_to_semantics', 'semantics_to_depth')
CHANNELS = (8, 8, 16, 16, 16)
INTERFACE = Interface(num_classes=5, depth_range=(0.1, 100.0))


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def small(**arguments) -> PadNet:
    """Build a small network."""
    return PadNet(INTERFACE, **{'backbone': 'resnet18', 'channels': CHANNELS, **arguments})


def conv(inputs: int, outputs: int, size: int) -> int:
    """Count a convolution's weights."""
    return inputs * outputs * size * size


@pytest.mark.parametrize('backbone, encoder, widths', [
    ('resnet50', 25_557_032 - 2_049_000, (64, 256, 512, 1024, 2048)),
    ('resnet101', 44_549_160 - 2_049_000, (64, 256, 512, 1024, 2048)),
])
@pytest.mark.parametrize('distillation', [True, False])
def test_parameters_of_the_papers_network(backbone, encoder, widths, distillation):
    """Counted layer by layer as the paper describes it, for 19 classes."""
    aspp = (
        conv(2048, 256, 1) + 2 * 256 + 3 * (conv(2048, 256, 3) + 2 * 256)
        + conv(2048, 256, 1) + 256 + conv(5 * 256, 256, 1) + 2 * 256)
    at_16 = conv(256 + widths[3], 256, 3) + 256
    at_8 = conv(256, 256, 3) + 256 + conv(256 + widths[2], 256, 3) + 256
    at_4 = conv(256, 128, 3) + 128 + conv(128 + widths[1], 128, 3) + 128
    at_2 = conv(128, 128, 3) + 128 + conv(128 + widths[0], 128, 3) + 128
    at_1 = conv(128, 64, 3) + 64 + conv(64, 64, 3) + 64
    decoder = aspp + at_16 + at_8 + at_4 + at_2 + at_1
    disparities = sum(conv(channels, 1, 3) + 1 for channels in (64, 128, 128, 256))
    labels = 64 * 19 + 19
    messages = 2 * 2 * conv(128, 128, 3) if distillation else 0
    with torch.device('meta'):
        network = PadNet(Interface(num_classes=19), backbone, distillation=distillation)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == encoder + 2 * decoder + disparities + labels + messages


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('training, alignment', [(True, False), (True, True), (False, True)])
def test_at_first_it_equals_the_network_without_distillation_to_the_bit(
        training, alignment, layout):
    """Depth, labels and all disparities, with the same dropout where there is any."""
    network = small(alignment=alignment).train(training)
    without = small(distillation=False).train(training)
    own = without.state_dict().keys()
    without.load_state_dict({k: v for k, v in network.state_dict().items() if k in own})
    image = torch.randn(2, 3, 64, 96).contiguous(memory_format=layout)
    outputs = []
    with torch.no_grad():
        for either in (network, without):
            torch.manual_seed(1)
            maps, disparities = either.forward_scales(image)
            outputs.append([maps.depth, maps.logits, *disparities])
    assert len(outputs[0]) == 6
    for joint, alone in zip(*outputs):
        assert torch.equal(joint, alone)


def teach(network: PadNet, task: str, image: torch.Tensor) -> None:
    """Leave the gradients of a loss on one task's map alone."""
    network.zero_grad()
    values = getattr(network(image), task).float()
    (values.log() if task == 'depth' else values).square().mean().backward()


@pytest.mark.parametrize('taker, giver, message', [
    ('depth', 'semantics', 'semantics_to_depth'),
    ('logits', 'depth', 'depth_to_semantics'),
])
def test_messages_learn_at_step_0_and_gates_from_step_1(taker, giver, message):
    """The giver's decoder is taught by the taker's loss only once the message has moved."""
    network = small(dropout=0.0)
    distillation, decoder = getattr(network, message), getattr(network, giver)
    image = torch.randn(2, 3, 64, 64)

    teach(network, taker, image)
    assert distillation.message.weight.grad.abs().max() > 0
    assert distillation.gate.weight.grad.abs().max() == 0
    assert all((p.grad == 0).all() for p in decoder.first.parameters())
    assert all(p.grad is None for p in decoder.second.parameters())
    assert network.coupling_norms()[message] == [0]

    torch.optim.SGD(network.parameters(), 1e-2).step()
    assert network.coupling_norms()[message][0] > 0
    teach(network, taker, image)
    assert distillation.gate.weight.grad.abs().max() > 0
    assert any((p.grad != 0).any() for p in decoder.first.parameters())


def test_a_message_is_the_papers_product():
    """Both weights set by hand: on a constant feature the sums are known."""
    distillation = Distillation(2)
    with torch.no_grad():
        distillation.message.weight[0, 1, 1, 1] = 3.0  # channel 0 hears channel 1, times 3
        distillation.gate.weight[0, 0, 1, 1] = 0.5  # opened by channel 0
        feature = torch.tensor([2.0, 7.0])[None, :, None, None].expand(1, 2, 4, 5)
        message = distillation(feature)
    expected = 3 * 7 / (1 + torch.exp(torch.tensor(-1.0)))
    torch.testing.assert_close(message[:, 0], expected.expand(1, 4, 5))
    assert (message[:, 1] == 0).all()


def test_depth_is_modulated_by_semantics():
    """Gain and message set by hand: F_depth (1 + gain) + message, in both ways to depth."""
    network = small(alignment=True).eval()
    depth, semantics = torch.randn(2, 1, 16, 4, 6).unbind()
    assert torch.equal(network.with_message(depth, semantics), depth)
    with torch.no_grad():
        network.semantics_to_depth_gain.weight.normal_()
        network.semantics_to_depth_gain.bias.fill_(0.5)
        gain = torch.einsum(
            'oi,bihw->bohw', network.semantics_to_depth_gain.weight[:, :, 0, 0], semantics) + 0.5
        torch.testing.assert_close(
            network.with_message(depth, semantics), depth * (1 + gain), atol=1e-4, rtol=1e-4)
        image = torch.randn(1, 3, 64, 64)
        _, disparities = network.forward_scales(image)
        for one, other in zip(disparities, network.disparities(image)):
            assert torch.equal(one, other)


def test_a_gain_wakes_up_in_one_step():
    """Its norm is reported, beside those of the messages."""
    network = small(alignment=True, dropout=0.0)
    assert network.coupling_norms()['semantics_to_depth_gain'] == [0]
    teach(network, 'depth', torch.randn(2, 3, 64, 64))
    torch.optim.SGD(network.parameters(), 1e-2).step()
    assert network.coupling_norms()['semantics_to_depth_gain'][0] > 0


def test_disparities_at_four_scales():
    """Finest first; the finest is the depth that the network gives, within the paper's range."""
    network = small().eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        disparities = network.disparities(image)
        output, again = network.forward_scales(image)
    assert [tuple(d.shape) for d in disparities] == [
        (2, 1, 64 // 2 ** scale, 96 // 2 ** scale) for scale in range(4)]
    for disparity, other in zip(disparities, again):
        assert torch.equal(disparity, other)
        assert disparity.dtype == torch.float32
        assert ((disparity > 0) & (disparity < 1)).all()
    # Monodepth2: 1 / (0.01 + (10 - 0.01) disparity)
    torch.testing.assert_close(output.depth, 1 / (0.01 + 9.99 * disparities[0]))
    torch.testing.assert_close(network.depth_of(disparities[0]), output.depth)
    torch.testing.assert_close(
        network.depth_of(torch.tensor([0.0, 1.0])), torch.tensor([100.0, 0.1]))
    assert output.logits.shape == (2, 5, 64, 96)


@pytest.mark.parametrize('distillation', [True, False])
def test_every_scale_teaches_the_encoder_and_its_own_head(distillation):
    """Without distillation, self-supervision leaves the decoder of labels alone."""
    network = small(distillation=distillation)
    for scale, disparity in enumerate(network.disparities(torch.randn(2, 3, 64, 64))):
        network.zero_grad()
        disparity.mean().backward(retain_graph=True)
        assert network.encoder.conv1.weight.grad.abs().max() > 0
        for head, weight in enumerate(head.weight for head in network.depth_heads):
            taught = weight.grad is not None and bool(weight.grad.abs().max() > 0)
            assert taught == (head == scale)
        # the scales at strides 4 and 8 come before the exchange
        reached = [p for p in network.semantics.parameters() if p.grad is not None]
        assert bool(reached) == (distillation and scale < 2)


def test_one_image_trains():
    """No batch norm sees a single value: neither a loss nor a gradient is lost."""
    network = small()
    network(torch.randn(1, 3, 64, 64)).depth.mean().backward()
    assert torch.isfinite(network.encoder.conv1.weight.grad).all()


def test_the_pyramid_knows_the_whole_image():
    """A change in one corner reaches the other, farther than any of its convolutions."""
    aspp = Aspp(4, 4, rates=(1,)).eval()
    feature = torch.randn(1, 4, 9, 9)
    changed = feature.clone()
    changed[..., 0, 0] += 50
    with torch.no_grad():
        difference = (aspp(changed) - aspp(feature)).abs().amax(1)
    assert difference[0, 8, 8] > 0


def test_it_learns_one_image():
    """Depth and labels of a scene of two halves, and the couplings wake up."""
    network = small(dropout=0.0, scales=1)
    image = torch.randn(1, 3, 32, 64)
    image[..., 32:] += 2
    labels = torch.zeros(1, 32, 64, dtype=torch.long)
    labels[..., 32:] = 3
    depth = torch.where(labels == 3, 5.0, 0.5)[:, None]
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        output = network(image)
        loss = (functional.cross_entropy(output.logits, labels)
                + (output.depth.log() - depth.log()).abs().mean())
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    assert (output.logits.argmax(1) == labels).float().mean() > 0.99
    assert all(network.coupling_norms()[direction][0] > 0 for direction in DIRECTIONS)


def test_a_frozen_encoder_neither_learns_nor_drifts():
    """The paper's first stage: decoders learn, ImageNet's features and statistics stay."""
    network = small(freeze_encoder=True)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    network(torch.randn(2, 3, 64, 64)).depth.mean().backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    assert network.depth.first[0].narrow.mean[0].weight.grad is not None
    for name, tensor in network.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_pretrained_weights_are_read_once_and_saved(tmp_path):
    """Features equal ImageNet's network alone, also when the file is gone."""
    path, folder = tmp_path / 'imagenet.pth', tmp_path / 'model'
    torch.save(ResNet('resnet18').state_dict(), path)
    alone = ResNet('resnet18', dilated=True, pretrained=str(path)).eval()
    arguments = {'backbone': 'resnet18', 'channels': list(CHANNELS), 'pretrained': str(path)}
    hub.save(build_model(ModelConfig(
        'padnet', arguments, LabelSpace.load('driving').to_dict(), mean=[0.0, 0.0, 0.0],
        std=[1.0, 1.0, 1.0])), folder)
    path.unlink()
    network = hub.load(folder).network
    image = torch.rand(1, 3, 64, 64)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        for own, other in zip(network.encode(image), alone((image - mean) / std)):
            torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-4)


def test_an_undilated_encoder_fits_too():
    """Its last feature has half the size; everything comes out as before."""
    with torch.no_grad():
        output, disparities = small(dilated=False).eval().forward_scales(torch.randn(1, 3, 32, 64))
    assert output.depth.shape == (1, 1, 32, 64)
    assert disparities[3].shape == (1, 1, 4, 8)


@pytest.mark.parametrize('arguments, message', [
    ({'backbone': 'vgg16'}, "unknown backbone 'vgg16'"),
    ({'channels': [8, 8, 8]}, r'channels at strides 1, 2, 4, 8 and 16, got \[8, 8, 8\]'),
    ({'scales': 5}, 'expected 1 to 4 scales of disparity, got 5'),
    ({'alignment': True, 'distillation': False}, 'distillation: true'),
    ({'dropout': 1.0}, 'dropout of at least 0 and below 1, got 1.0'),
])
def test_what_no_such_network_can_have_is_refused(arguments, message):
    """One clear error each."""
    with pytest.raises(ValueError, match=message):
        small(**arguments)
