"""Django system checks of the settings."""
