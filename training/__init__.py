"""The demo model, from nothing: a text-to-image latent diffusion model of emoji."""
