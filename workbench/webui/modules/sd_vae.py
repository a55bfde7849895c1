"""The VAE is the checkpoint's own."""

vae_dict = {}
loaded_vae_file = None


def get_loaded_vae_name():
    return None


def get_loaded_vae_hash():
    return None


def refresh_vae_list():
    """There are no separate VAE files."""


def reload_vae_weights(sd_model=None, vae_file=None):
    return sd_model
