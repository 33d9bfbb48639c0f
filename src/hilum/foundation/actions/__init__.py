"""Actions: what people and programs can do, declared once, on the service function that does it.

Owns: the declaration (noun, verb, arguments, who may, effect, words); the audit event of an action; its arguments, parsed and bound; its API
route; its description, from which commands, pages and the reference are made; the keys of creations that may be sent again.
Must not know: any noun; the audit; click; templates.
Public verbs: action, actions_of, perform, parse, describe, purge; policy.shown; live.declared.
Invariants:
- An action is an ordinary function: whoever calls it from Python gets the same event and the same refusals.
- Only an argument that is annotated with ``Arg`` can be sent from outside.
- A refusal is recorded before it is raised, and a success after everything else.
- What is declared is found by looking at a module, never in a registry that importing it fills.
- By hand stay pages, commands and routes that a form over arguments would make worse: secrets that are shown once, uploads, streams, signed
  documents, flows of several steps, pages with more than facts and buttons. They call the same actions.
"""
