"""Steps, timesteps and guidance."""
