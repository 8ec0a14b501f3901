"""Memory policies: what they are made of, and how they print."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.base.release import Release
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.uapi import (
    BALANCING,
    INTERLEAVING,
    MODE_FLAG_TEXTS,
    MODE_TEXTS,
    MPOL,
    RELATIVE,
    STATIC,
    words_of,
)

_MODE_FLAGS = STATIC | RELATIVE | BALANCING
_TEXT_LIMIT = 63  # show_numa_map() prints into a buffer of 64 characters


class Mempolicy(NamedTuple):
    """A policy other than default, which is the absence of one. Mirrors struct mempolicy."""

    mode: MPOL
    flags: int  # mode flags
    nodes: Nodemask  # in effect
    origin: Nodemask  # with any flag the nodes that were asked for, else the mems it was built on
    home_node: int = -1

    @property
    def is_interleaving(self) -> bool:
        """Whether pages go to its nodes in turn."""
        return self.mode in INTERLEAVING

    @property
    def user_nodes(self) -> Nodemask:
        """The nodes that get_mempolicy() reports. Mirrors get_policy_nodemask()."""
        return self.origin if self.flags else self.nodes

    def __str__(self) -> str:
        """The text in numa_maps. Mirrors mpol_to_str()."""
        text = mode_with_flags(self.mode, self.flags)
        return (f"{text}:{self.nodes}" if self.nodes else text)[:_TEXT_LIMIT]


def mode_with_flags(mode: int, flags: int) -> str:
    """A mode with its flags, as numa_maps shows them: ``bind=static``."""
    names = words_of(flags, MODE_FLAG_TEXTS)
    return MODE_TEXTS[mode] + ("=" + "|".join(names) if names else "")


def mpol_equal(a: Mempolicy | None, b: Mempolicy | None) -> bool:
    """Whether two policies are the same to a VMA. Mirrors __mpol_equal()."""
    if a is None or b is None:
        return a is b
    return a._replace(origin=a.user_nodes) == b._replace(origin=b.user_nodes)


def split_mode(number: int, release: Release) -> tuple[MPOL, int]:
    """The mode and the flags of a system call's argument.

    Raises KernelError EINVAL. Mirrors sanitize_mpol_flags().
    """
    mode, flags = number & ~_MODE_FLAGS, number & _MODE_FLAGS
    highest = MPOL.WEIGHTED_INTERLEAVE if release.weighted_interleave else MPOL.PREFERRED_MANY
    if not 0 <= mode <= highest:
        raise KernelError("EINVAL", f"{mode} is not a policy mode")
    if flags & STATIC and flags & RELATIVE:
        raise KernelError("EINVAL", "static and relative exclude each other")
    if flags & BALANCING:
        balanced = {MPOL.BIND}
        if release.balancing_preferred_many:
            balanced.add(MPOL.PREFERRED_MANY)
        if mode not in balanced:
            raise KernelError("EINVAL", "numa_balancing goes with bind and preferred-many only")
    return MPOL(mode), flags


def new_policy(mode: MPOL, flags: int, user: Nodemask) -> Mempolicy | None:
    """The policy before it knows which nodes are allowed; None for default.

    Raises KernelError EINVAL. Mirrors mpol_new().
    """
    if mode == MPOL.DEFAULT:
        if user:
            raise KernelError("EINVAL", "the default policy takes no nodes")
        return None
    rigid = flags & (STATIC | RELATIVE)
    if mode == MPOL.PREFERRED and not user:
        if rigid:
            raise KernelError("EINVAL", "preferred with static or relative needs a node")
        mode = MPOL.LOCAL
    elif mode == MPOL.LOCAL:
        if user or rigid:
            raise KernelError("EINVAL", "local takes neither nodes nor static or relative")
    elif not user:
        raise KernelError("EINVAL", f"{MODE_TEXTS[mode]} needs a node")
    return Mempolicy(mode, flags, user, user)


def set_nodemask(policy: Mempolicy | None, allowed: Nodemask) -> Mempolicy | None:
    """*policy* narrowed to the nodes of *allowed* (the caller's mems that have memory).

    Raises KernelError EINVAL if none is left. Mirrors mpol_set_nodemask().
    """
    if policy is None or policy.mode == MPOL.LOCAL:
        return policy and policy._replace(nodes=Nodemask(), origin=Nodemask())
    user = policy.nodes
    nodes = user.relative_to(allowed) if policy.flags & RELATIVE else user & allowed
    if not nodes:
        raise KernelError("EINVAL", f"none of the nodes {user} is allowed and has memory")
    if policy.mode == MPOL.PREFERRED:
        nodes = Nodemask.of(nodes.first)
    return policy._replace(nodes=nodes, origin=user if policy.flags else allowed)


def rebind(policy: Mempolicy | None, allowed: Nodemask) -> Mempolicy | None:
    """*policy* after the task's mems became *allowed*. Mirrors mpol_rebind_policy()."""
    if policy is None or policy.mode == MPOL.LOCAL:
        return policy
    origin = policy.origin
    if not policy.flags and origin == allowed:
        return policy
    if policy.mode in (MPOL.PREFERRED, MPOL.PREFERRED_MANY):
        return policy._replace(origin=allowed)
    if policy.flags & STATIC:
        nodes = origin & allowed
    elif policy.flags & RELATIVE:
        nodes = origin.relative_to(allowed)
    else:
        nodes = policy.nodes.remap_all(origin, allowed)
        origin = allowed
    return policy._replace(nodes=nodes or allowed, origin=origin)
