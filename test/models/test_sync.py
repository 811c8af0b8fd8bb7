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

"""Synchronisation: nothing changes at step 0, couplings learn, donors stay out of it."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
import math

import pytest
from sync_perception.models import build_branch
from sync_perception.models.interface import fit_to_image, Interface, to_depth
from sync_perception.models.sync import (
    Alignment,
    Branch,
    Coupling,
    match_levels,
    own_normalisation,
    SyncNet,
)
from sync_perception.models.unet.ddpm_unet import UNet
from sync_perception.models.unet.mobilenet import MobileUNet
import torch
from zoo import BRANCH_ZOO

# no branch's own normalisation
STREETS = Interface(5, (1.0, 80.0), mean=(0.4, 0.45, 0.5), std=(0.2, 0.25, 0.3))
# of the zoo's branches, those that can give any number of channels
LABELLERS = [name for name in sorted(BRANCH_ZOO)
             if BRANCH_ZOO[name]()['kind'] != 'transformers_depth']
# each branch once as either, beside one of another kind: strides, multiples, image normalisations
NEIGHBOURS = [(depth, LABELLERS[(index + 3) % len(LABELLERS)])
              for index, depth in enumerate(sorted(BRANCH_ZOO))]
DIRECTIONS = ('depth_to_semantics', 'semantics_to_depth')
PAIRS = {
    'resnet': lambda: (UNet(1, 'resnet', 'tiny'), UNet(5, 'resnet', 'tiny')),
    'convnext and vit': lambda: (UNet(1, 'convnext', 'tiny'), UNet(5, 'vit', 'tiny')),
    'other strides': lambda: (UNet(1, dim=8, multipliers=(1, 2)), UNet(5, size='tiny')),
    'mobile': lambda: (MobileUNet(1), MobileUNet(5)),
    'mobile and unet': lambda: (MobileUNet(1), UNet(5, size='tiny')),
}


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def losses(network: SyncNet, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a loss on the depth map alone, and one on the logits alone."""
    output = network(image)
    return output.depth.log().square().mean(), output.logits.square().mean()


def train(network: SyncNet, steps: int = 3) -> None:
    """Take steps of AdamW, whose weight decay would also move what gets no gradient."""
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        sum(losses(network, torch.randn(2, 3, 32, 32))).backward()
        optimiser.step()


@pytest.mark.parametrize('alignment, training, layout', [
    (False, True, torch.contiguous_format), (True, False, torch.contiguous_format),
    (True, True, torch.channels_last), (False, False, torch.channels_last)])
@pytest.mark.parametrize('pair', PAIRS)
def test_at_initialisation_it_equals_its_branches_to_the_bit(pair, alignment, training, layout):
    """The joint maps are those of the two branches alone, in every bit."""
    depth, semantics = PAIRS[pair]()
    alone = deepcopy(depth).train(training), deepcopy(semantics).train(training)
    network = SyncNet(depth, semantics, alignment=alignment).train(training)
    image = torch.randn(2, 3, 32, 32).contiguous(memory_format=layout)
    with torch.no_grad():
        joint = network(image)
        raw_depth, logits = (branch(image) for branch in alone)
        assert torch.equal(joint.depth, to_depth(raw_depth, 'log', (0.5, 200.0)))
        assert torch.equal(joint.logits, logits)


@cache
def zoo_branch(name: str, out_channels: int) -> Branch:
    """Build a branch of the zoo once for all pairs: only couplings are added to it."""
    torch.manual_seed(out_channels)
    return build_branch(out_channels, **BRANCH_ZOO[name]()).eval()


@cache
def alone(name: str, out_channels: int, side: int) -> torch.Tensor:
    """Return what a branch of the zoo gives for the image of this size without any other."""
    branch = zoo_branch(name, out_channels)
    with torch.no_grad():
        own = own_normalisation(branch, STREETS)(square(side))
        return fit_to_image(branch.decode(branch.encode(own)), (side, side))


@cache
def square(side: int) -> torch.Tensor:
    """Return two images of this size."""
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize('depth, semantics', NEIGHBOURS)
def test_branches_of_every_kind_are_joined_without_a_change(depth, semantics):
    """Whatever their kinds, strides and normalisations: the joint maps are theirs in every bit."""
    branches = zoo_branch(depth, 1), zoo_branch(semantics, 5)
    network = SyncNet(*branches, STREETS).eval()
    side = network.multiple * math.ceil(64 / network.multiple)
    with torch.no_grad():
        joint = network(square(side))
    raw = alone(depth, 1, side)
    assert torch.equal(joint.depth, to_depth(raw, branches[0].depth_form, STREETS.depth_range))
    assert torch.equal(joint.logits, alone(semantics, 5, side))


@pytest.mark.parametrize('pair', PAIRS)
def test_couplings_get_gradient_at_step_0_and_donors_none_through_them(pair):
    """With y = Wx + b and W = b = 0: dy/dW = x moves W, dy/dx = W leaves the donor alone."""
    network = SyncNet(*PAIRS[pair]())
    depth_loss, _ = losses(network, torch.randn(2, 3, 32, 32))
    depth_loss.backward()
    for convolution in network.semantics_to_depth.convolutions:
        assert convolution.weight.grad.abs().max() > 0
        assert convolution.bias.grad.abs().max() > 0
    donors = [p for p in network.semantics.parameters() if p.grad is not None]
    assert all((p.grad == 0).all() for p in donors)
    assert all(p.grad is None for p in network.depth_to_semantics.parameters())

    network.zero_grad()
    _, semantic_loss = losses(network, torch.randn(2, 3, 32, 32))
    semantic_loss.backward()
    for convolution in network.depth_to_semantics.convolutions:
        assert convolution.weight.grad.abs().max() > 0
    donors = [p for p in network.depth.parameters() if p.grad is not None]
    assert all((p.grad == 0).all() for p in donors)


def test_once_awake_a_coupling_passes_gradient_to_its_donor():
    """After training steps the depth loss teaches the semantic encoder, and norms have grown."""
    network = SyncNet(*PAIRS['resnet']())
    assert all(norm == 0 for norms in network.coupling_norms().values() for norm in norms)
    train(network)
    network.zero_grad()
    losses(network, torch.randn(2, 3, 32, 32))[0].backward()
    assert network.semantics.stem.weight.grad.abs().max() > 0
    for direction in DIRECTIONS:
        norms = network.coupling_norms()[direction]
        assert len(norms) == 4
        assert min(norms) > 0


@pytest.mark.parametrize('off', DIRECTIONS)
def test_a_direction_switched_off_stays_zero(off):
    """Training moves the other direction alone, and the receiver stays its branch alone."""
    network = SyncNet(*PAIRS['resnet'](), **{off: False})
    train(network)
    on, = set(DIRECTIONS) - {off}
    assert all((p == 0).all() for p in getattr(network, off).parameters())
    assert min(network.coupling_norms()[on]) > 0
    image = torch.randn(1, 3, 32, 32)
    network.eval()
    with torch.no_grad():
        output = network(image)
        depth = to_depth(network.depth(image), 'log', (0.5, 200.0))
        receiver_is_alone = (torch.equal(output.depth, depth),
                             torch.equal(output.logits, network.semantics(image)))
    assert receiver_is_alone == (off == 'semantics_to_depth', off == 'depth_to_semantics')


def test_both_directions_off_are_two_networks():
    """The ablation without the framework: no coupling has any effect or gradient."""
    network = SyncNet(*PAIRS['resnet'](), depth_to_semantics=False, semantics_to_depth=False)
    sum(losses(network, torch.randn(1, 3, 32, 32))).backward()
    for direction in DIRECTIONS:
        assert all(p.grad is None for p in getattr(network, direction).parameters())


def test_a_coupling_adds_a_linear_map_of_the_same_level():
    """Weight and bias set by hand; the sum of products is taken by einsum."""
    donor, receiver = UNet(5, size='tiny'), UNet(1, size='tiny')
    coupling = Coupling(donor, receiver)
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        for convolution in coupling.convolutions:
            convolution.weight.normal_()
            convolution.bias.normal_()
        own, other = receiver.encode(image), donor.encode(image)
        for level, added in enumerate(coupling(own, other)):
            weight = coupling.convolutions[level].weight[:, :, 0, 0]
            bias = coupling.convolutions[level].bias[:, None, None]
            expected = own[level] + torch.einsum('oi,bihw->bohw', weight, other[level]) + bias
            torch.testing.assert_close(added, expected, atol=1e-4, rtol=1e-4)


def test_an_alignment_scales_and_adds_at_the_same_level():
    """Gain and addition set by hand; the sums of products are taken by einsum."""
    donor, receiver = UNet(5, size='tiny'), UNet(1, size='tiny')
    alignment = Alignment(donor, receiver)
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        for weight in alignment.parameters():
            weight.normal_()
        own, other = receiver.encode(image), donor.encode(image)
        for level, modulated in enumerate(alignment(own, other)):
            gain, addition = (
                torch.einsum('oi,bihw->bohw', linear.weight[:, :, 0, 0], other[level])
                + linear.bias[:, None, None]
                for linear in (alignment.gains[level], alignment.convolutions[level]))
            torch.testing.assert_close(
                modulated, own[level] + own[level] * gain + addition, atol=1e-3, rtol=1e-3)


def test_gains_wake_up_in_one_step_and_are_reported_beside_the_couplings():
    """Depth's loss teaches them at step 0: dy/dgain = F S; then the semantic encoder, too."""
    network = SyncNet(*PAIRS['other strides'](), alignment=True)
    assert network.coupling_norms()['semantics_to_depth_gain'] == [0, 0, 0]
    losses(network, torch.randn(2, 3, 32, 32))[0].backward()
    assert all((p.grad == 0).all() for p in network.semantics.parameters() if p.grad is not None)
    torch.optim.SGD(network.parameters(), 1e-2).step()
    norms = network.coupling_norms()
    assert len(norms['semantics_to_depth_gain']) == 3
    assert min(norms['semantics_to_depth_gain']) > 0
    with torch.no_grad():  # the gain alone reaches the donor
        for convolution in network.semantics_to_depth.convolutions:
            convolution.weight.zero_()
    network.zero_grad()
    losses(network, torch.randn(2, 3, 32, 32))[0].backward()
    assert network.semantics.stem.weight.grad.abs().max() > 0


def test_weights_of_a_coupled_network_are_those_of_an_aligned_one_but_for_its_gains():
    """And with these weights, the gains at zero, both give the same maps to the bit."""
    plain = SyncNet(*PAIRS['mobile']())
    train(plain, steps=1)
    aligned = SyncNet(*PAIRS['mobile'](), alignment=True)
    missing, unexpected = aligned.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert missing and all(name.startswith('semantics_to_depth.gains') for name in missing)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first, second = plain.eval()(image), aligned.eval()(image)
    assert torch.equal(first.depth, second.depth) and torch.equal(first.logits, second.logits)


@pytest.mark.parametrize('donor, receiver, levels', [
    ((1, 2, 4, 8, 8), (1, 2, 4, 8, 8), [0, 1, 2, 3, 4]),  # the bottleneck to the bottleneck
    ((2, 4, 8, 16, 32), (1, 2, 4, 8, 8), [0, 0, 1, 2, 2]),
    ((1, 2, 4, 8, 8), (2, 4, 8, 16, 32), [1, 2, 3, 3, 4]),
    ((4, 8, 16, 32), (14, 14, 14, 14), [2, 2, 2, 2]),
    ((14, 14, 14, 14), (4, 8, 16, 32), [0, 1, 2, 3]),
])
def test_levels_meet_their_like(donor, receiver, levels):
    """Nearest stride in octaves first, then the place from the coarse end."""
    assert match_levels(donor, receiver) == levels


def test_multiple_suits_both_branches():
    """Sides divisible by the joint multiple are divisible by either branch's."""
    depth, semantics = UNet(1, size='tiny'), MobileUNet(2)
    depth.multiple = 14
    assert SyncNet(depth, semantics).multiple == 224


@pytest.mark.parametrize('present, absent', [('depth', 'logits'), ('logits', 'depth')])
def test_a_single_task_network_is_its_branch_alone(present, absent):
    """The baseline shares every line with the coupled network; the other map is absent."""
    depth, semantics = PAIRS['resnet']()
    network = SyncNet(depth if present == 'depth' else None,
                      semantics if present == 'logits' else None).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        output = network(image)
        alone = {'depth': to_depth(depth.eval()(image), 'log', (0.5, 200.0)),
                 'logits': semantics.eval()(image)}
    assert torch.equal(getattr(output, present), alone[present])
    assert getattr(output, absent) is None
    assert network.coupling_norms() == {}


def test_a_network_without_branches_is_refused():
    """So is uncertainty of a depth that nothing predicts."""
    with pytest.raises(ValueError, match='depth None, semantics None'):
        SyncNet(None, None)
    with pytest.raises(ValueError, match='uncertainty True'):
        SyncNet(None, UNet(3, size='tiny'), uncertainty=True)
    with pytest.raises(ValueError, match='semantics_to_depth: true'):
        SyncNet(*PAIRS['mobile'](), semantics_to_depth=False, alignment=True)


def test_more_maps_of_the_depth_branch():
    """Its channels are raw depth, log-variance, then normals of unit length."""
    network = SyncNet(UNet(5, size='tiny'), UNet(4, size='tiny'), uncertainty=True, normals=True)
    image = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        output, raw = network(image), network.depth(image)
    assert torch.equal(output.depth, to_depth(raw[:, :1], 'log', (0.5, 200.0)))
    assert torch.equal(output.log_variance, raw[:, 1:2])
    torch.testing.assert_close(output.normals.norm(dim=1), torch.ones(2, 16, 24))
    torch.testing.assert_close(
        torch.cross(output.normals, raw[:, 2:], dim=1), torch.zeros(2, 3, 16, 24))


def test_a_branch_gets_images_in_its_own_normalisation():
    """Images in [0, 1] reach a branch that knows -1 to 1 as 2x - 1, and the other as they are."""
    depth, semantics = UNet(1, size='tiny').eval(), UNet(4, size='tiny').eval()
    depth.normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = SyncNet(depth, semantics, Interface(mean=(0, 0, 0), std=(1, 1, 1))).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        output = network(image)
        expected = to_depth(depth(2 * image - 1), 'log', (0.5, 200.0))
        torch.testing.assert_close(output.depth, expected)
        assert torch.equal(output.logits, semantics(image))


def test_a_frozen_encoder_neither_learns_nor_drifts():
    """Training moves the decoder alone; batch norm statistics of the encoder stay."""
    branch = MobileUNet(2)
    branch.encoder.add_module('norm', torch.nn.BatchNorm2d(3))
    branch.freeze_encoder()
    branch.train()
    assert not branch.encoder.norm.training
    assert branch.bottleneck.training
    branch(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is None for p in branch.encoder.parameters())
    assert all(p.grad is not None for p in branch.bottleneck.parameters())
    with pytest.raises(ValueError, match='UNet.*pretrained'):
        UNet(2, size='tiny').freeze_encoder()


def test_branches_may_see_the_image_at_different_sizes():
    """Each is what it would be alone on its own image; couplings meet levels of like strides."""
    arguments = {**BRANCH_ZOO['mobile_unet'](), 'image_scale': 0.5}
    torch.manual_seed(0)
    depth = build_branch(1, **arguments).eval()
    semantics = build_branch(5, **BRANCH_ZOO['efficientvit']()).eval()
    network = SyncNet(depth, semantics).eval()
    image = torch.rand(1, 3, 128, 192)
    small = torch.nn.functional.avg_pool2d(image, 2)  # bilinear at one half is the mean of four
    with torch.no_grad():
        output = network(image)
        torch.testing.assert_close(
            output.depth, to_depth(
                depth(network.depth_input(small)), depth.depth_form, network.depth_range))
        torch.testing.assert_close(output.logits, semantics(network.semantic_input(image)))
    assert network.depth_to_semantics.levels == [1, 2, 3]  # strides 8, 16, 32: of 4, 8, 16
    with pytest.raises(ValueError, match='image_scale'):
        build_branch(1, **{**arguments, 'image_scale': 0})
