"""What counts as good: pixels, feature maps and the critic's belief, in balance."""

import pytest
import torch
from torch import nn

from training.classifier import Classifier
from training.losses import Critic, PerceptualLoss, balance, pixel_loss, unit


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_pixels_count_by_distance_and_its_square():
    pictures = torch.rand(2, 3, 4, 4)
    assert pixel_loss(pictures + 0.5, pictures).item() == pytest.approx(0.5 + 2 * 0.25)
    assert pixel_loss(pictures + 0.5, pictures, 10.0).item() == pytest.approx(0.5 + 10 * 0.25)


@pytest.mark.usefixtures("font")
def test_features_that_differ_cost_and_the_classifier_does_not_learn():
    classifier = Classifier([4, 8])
    loss = PerceptualLoss(classifier)
    pictures = torch.randn(2, 3, 16, 16)
    assert loss(pictures, pictures).item() == 0
    output = (pictures + 0.1 * torch.randn_like(pictures)).requires_grad_()
    little = loss(output, pictures)
    assert 0 < little < loss(torch.randn_like(pictures), pictures)
    little.backward()
    assert output.grad.any()
    assert not any(each.requires_grad for each in classifier.parameters())


def test_features_have_unit_length():
    lengths = unit(torch.randn(1, 8, 4, 4)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(1, 4, 4))
    assert unit(torch.zeros(1, 8, 4, 4)).isfinite().all()


def test_critic_looks_at_patches_of_22_pixels():
    # A norm sees the whole picture; what is asked is how far the convolutions do.
    layers = [each for each in Critic(4) if not isinstance(each, nn.GroupNorm)]
    pictures = torch.randn(1, 3, 64, 64, requires_grad=True)
    nn.Sequential(*layers)(pictures)[0, 0, 7, 7].backward()
    rows, columns = (pictures.grad.abs().sum((0, 1, axis)).nonzero() for axis in (2, 3))
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 22


class Fixed(Critic):
    """Believes a picture as much as its mean says."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((1, 2, 3))


def test_what_is_told_apart_clearly_costs_the_critic_nothing():
    ones = torch.ones(2, 3, 4, 4)
    assert Fixed(4).loss(2 * ones, -2 * ones).item() == 0
    assert Fixed(4).loss(0 * ones, 0 * ones).item() == 1
    assert Fixed(4).loss(-ones, ones).item() == 2
    assert Fixed(4).doubt(3 * ones).item() == -3


def test_only_doubt_teaches_what_made_the_picture():
    critic = Critic(4)
    made = torch.randn(1, 3, 32, 32, requires_grad=True)
    critic.loss(torch.randn(1, 3, 32, 32), made).backward()
    assert made.grad is None
    critic.doubt(made).backward()
    assert made.grad.any()


def test_balanced_losses_pull_equally_hard():
    layer = torch.randn(5, requires_grad=True)
    reconstruction, doubt = (3 * layer).sum(), layer.square().sum()
    weight = balance(reconstruction, doubt, layer)
    pulls = [torch.autograd.grad(loss, layer)[0].norm() for loss in (reconstruction, doubt)]
    torch.testing.assert_close(weight * pulls[1], pulls[0], rtol=1e-3, atol=0)
    assert not weight.requires_grad
    assert balance((layer * 1e6).sum(), (layer * 1e-6).sum(), layer) == 10
