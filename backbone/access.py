"""Who may read a channel, and what was deleted in it: the rules that the backend, inbox and sockets all ask.

A public channel is read by everyone; a private one does not exist for those outside. All else that
someone may do or not is the backend's (`backend/domain/access.py`). Pure.
"""

from typing import Any

from schemas.channels import Role


def may_read(private: bool, role: Role | None) -> bool:
    """Say whether a channel exists for someone with this role in it (None: outside)."""
    return not private or role is not None


def sees_deleted(role: Role | None) -> bool:
    """Say whether someone with this role may see what was deleted: in streams, histories, former states."""
    return role == "owner"


def readable(private: Any, role: Any) -> Any:
    """Return `may_read` as a condition over two SQL columns, `role` from an outer join."""
    return ~private | role.is_not(None)
