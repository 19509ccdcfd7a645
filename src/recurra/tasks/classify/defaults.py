"""`settings_from` under the name that the how-to pages use."""

from recurra.tasks.settings import settings_from

__all__ = ["settings_from"]
