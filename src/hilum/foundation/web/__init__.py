"""Web: the shared parts of every module with pages or API routes.

Owns: the page shell and its Jinja macros (``templates/web/page.html``, ``templates/web/ui.html``); the style sheet; security headers of
pages; form bodies and their CSRF tokens; cookie names and attributes; absolute URLs (``urls.Urls``, the only place that builds paths); the
style document for apps; problem+json; error pages; static files; the kit that ``server`` passes to modules.
Must not know: any module of the domain, or its rules. Sessions, persons and scopes are passed to it as values to show.
Public: ``kit.Kit``, ``urls.Urls``, ``pages.Pages.render``, ``forms.read_form`` and ``forms.check_post``, ``cookies``, ``problems.install``,
``errors.install``, ``json_routes.JsonRoute``, ``static.Assets``, ``bounds.RequestsInProgress``.
Invariants:
- No inline script or style, no page that needs JavaScript, no form without a token.
- A repeated form parameter is refused.
- Pages are never cached and never send a referrer. ``form-action`` and ``frame-ancestors`` list exactly what a page needs.
"""
