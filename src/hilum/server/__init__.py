"""App: the composition root, the only place where modules are wired to each other and to the world.

Owns: settings, clock, ids, databases, journal and the construction of all modules; mounting them on one ASGI callable for the platform and
one for the sandbox site; the sandbox's plan; the processes of ``hilum serve``; jobs under leases; backups and restores.
Must not know: any rule. A decision made here is in the wrong module.
Public verbs: ``platform.build``, ``sandbox_site.build``, ``factories.platform``, ``sandbox_factory.sandbox``, ``serve.run_web``,
``jobs.run``, ``seed.carry_out``, ``backup.make``, ``restore.run``.
Invariant: nothing but this room and the command line imports ``infra.system`` or a room's routes.
"""
