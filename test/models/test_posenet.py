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

"""The pose network: rotations against OpenCV, directions of time, gradients at rest."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.models.interface import Interface
from sync_perception.models.posenet import inverse, motion_to_transforms, PoseNet, rotations
from sync_perception.models.unet.resnet import ResNet
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope='module')
def network() -> PoseNet:
    """Build a network that moves visibly, for inference."""
    torch.manual_seed(0)
    network = PoseNet().eval()
    with torch.no_grad():
        network.decoder[-1].bias.normal_(std=20)
    return network


@pytest.mark.parametrize('angle', [0, 1e-6, 1e-3, 0.0999, 0.1001, 1, 3, 6])
def test_rotations_equal_opencvs(angle):
    """On both sides of the angle where the series ends."""
    axes = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    found = rotations(axes * angle)
    for axis, rotation in zip(axes, found):
        expected, _ = cv2.Rodrigues((axis * angle).numpy())
        np.testing.assert_allclose(rotation.numpy(), expected, atol=1e-9)
    single = rotations((axes * angle).float())
    torch.testing.assert_close(single.double(), found, atol=1e-6, rtol=0)


@pytest.mark.parametrize('angle', [0, 1e-4, 0.05, 0.2, 2])
def test_gradients_equal_opencvs(angle):
    """At rest, too, where the axis is undefined."""
    vector = torch.tensor([[0.6, -0.48, 0.64]], dtype=torch.float64) * angle
    vector.requires_grad_()
    jacobian = torch.autograd.functional.jacobian(rotations, vector)[0, :, :, 0]
    _, expected = cv2.Rodrigues(vector.detach().numpy()[0])
    expected = expected if expected.shape == (3, 9) else expected.T
    np.testing.assert_allclose(
        jacobian.permute(2, 0, 1).reshape(3, 9).numpy(), expected, atol=1e-6)


def test_transforms_rotate_then_translate():
    """A quarter turn about z and a step along x take (1, 0, 0) to (2, 1, 0) + (0, 0, 0)."""
    motion = torch.tensor([[0, 0, np.pi / 2, 2, 0, 0]], dtype=torch.float32)
    point = torch.tensor([1.0, 0, 0, 1])
    T = motion_to_transforms(motion)
    torch.testing.assert_close(T @ point, torch.tensor([[2.0, 1, 0, 1]]))
    torch.testing.assert_close(inverse(T) @ T, torch.eye(4)[None])
    torch.testing.assert_close(inverse(T), torch.linalg.inv(T))


def test_poses_keep_their_precision_under_autocast():
    """A drive of metres must not be rounded to half precision on its way to a matrix."""
    motion = torch.randn(4, 6)
    with torch.autocast('cpu', torch.bfloat16):
        T = motion_to_transforms(motion)
        back = inverse(T)
    torch.testing.assert_close(T, motion_to_transforms(motion), atol=0, rtol=0)
    torch.testing.assert_close(back, torch.linalg.inv(T), atol=1e-5, rtol=1e-5)


def test_parameters_of_monodepth2():
    """A ResNet-18 with twice the image channels, and the decoder's four convolutions."""
    with torch.device('meta'):
        found = sum(parameter.numel() for parameter in PoseNet().parameters())
    encoder = 11_689_512 - 513_000 + 64 * 3 * 7 * 7
    decoder = (512 * 256 + 256) + 2 * (256 * 256 * 9 + 256) + (256 * 6 + 6)
    assert found == encoder + decoder


def test_a_fresh_network_hardly_moves_and_learns():
    """Rotation and translation start within 0.01 of what the decoder says, and get gradients."""
    network = PoseNet()
    pose = network(torch.randn(2, 3, 64, 96), torch.randn(2, 3, 64, 96))
    assert pose.shape == (2, 4, 4)
    torch.testing.assert_close(pose, torch.eye(4).expand(2, 4, 4), atol=0.05, rtol=0)
    pose.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert network.encoder.conv1.weight.grad.abs().max() > 0


def test_no_motion_has_finite_gradients():
    """Monodepth2's division by the angle has none at exactly zero; here they are right."""
    network = PoseNet()
    torch.nn.init.zeros_(network.decoder[-1].weight)
    torch.nn.init.zeros_(network.decoder[-1].bias)
    pose = network(torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64))
    assert torch.equal(pose, torch.eye(4)[None])
    (pose[0, 0, 1] + pose[0, 2, 3]).backward()
    # R is 1 + K near rest: dR[0, 1] / dz = -1, dt[2] = 1, both times 0.01
    torch.testing.assert_close(
        network.decoder[-1].bias.grad, torch.tensor([0, 0, -0.01, 0, 0, 0.01]))


def test_images_arrive_in_the_interfaces_normalisation():
    """The encoder sees ImageNet's, whatever the images come in."""
    network = PoseNet(Interface(mean=(0, 0, 0), std=(1, 1, 1))).eval()
    other = PoseNet(Interface(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))).eval()
    other.load_state_dict(network.state_dict())
    earlier, later = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            network.motions(earlier, later),
            other.motions((earlier - 0.5) / 0.25, (later - 0.5) / 0.25))


def test_pretrained_weights_of_single_images_serve(tmp_path):
    """The first convolution is repeated and halved."""
    encoder = ResNet('resnet18')
    torch.save(encoder.state_dict(), tmp_path / 'imagenet.pth')
    network = PoseNet(pretrained=str(tmp_path / 'imagenet.pth'))
    weight = network.encoder.conv1.weight
    assert torch.equal(weight[:, :3], encoder.conv1.weight / 2)
    assert torch.equal(weight[:, 3:], encoder.conv1.weight / 2)
    assert torch.equal(network.encoder.layer4[1].conv2.weight, encoder.layer4[1].conv2.weight)


def test_what_has_no_pose_is_refused(network):
    image = torch.randn(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r'\(1, 3, 32, 32\) and \(2, 3, 32, 32\)'):
        network(image, image.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="unknown backbone 'resnet34'"):
        PoseNet(backbone='resnet34')
