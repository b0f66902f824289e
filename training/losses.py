"""What makes a reconstruction good: its pixels, what a classifier sees, what a critic believes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.classifier import Classifier


def pixel_loss(output: Tensor, pictures: Tensor, squares: float = 2.0) -> Tensor:
    """Absolute distances keep edges crisp, squared ones are what PSNR measures."""
    return F.l1_loss(output, pictures) + squares * F.mse_loss(output, pictures)


class PerceptualLoss(nn.Module):
    """Distance between the feature maps of two pictures, features of unit length."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)

    def forward(self, output: Tensor, pictures: Tensor) -> Tensor:
        pairs = zip(
            self.classifier.features(output), self.classifier.features(pictures), strict=True
        )
        distances = [(unit(a) - unit(b)).square().sum(1).mean() for a, b in pairs]
        return torch.stack(distances).sum()


def unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1, eps=1e-3)


class Critic(nn.Sequential):
    """Says of each patch of 22 x 22 pixels how real it looks."""

    def __init__(self, channels: int = 32) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        layers += [nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)]
        layers += [nn.GroupNorm(8, 2 * channels), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(2 * channels, 1, 4, padding=1)]
        super().__init__(*layers)

    def loss(self, real: Tensor, made: Tensor) -> Tensor:
        """The hinge loss: only patches that are not yet told apart clearly count."""
        return (F.relu(1 - self(real)).mean() + F.relu(1 + self(made.detach())).mean()) / 2

    def doubt(self, made: Tensor) -> Tensor:
        """What the autoencoder has to make small to be believed."""
        return -self(made).mean()


def balance(reconstruction: Tensor, doubt: Tensor, last_layer: Tensor) -> Tensor:
    """The weight at which both losses pull equally hard at the last layer of the decoder."""
    pulls = [
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].norm()
        for loss in (reconstruction, doubt)
    ]
    return (pulls[0] / (pulls[1] + 1e-4)).clamp(max=10.0).detach()
