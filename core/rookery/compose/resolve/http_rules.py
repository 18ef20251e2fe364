"""What a route under `x-rookery.http` asks of requests beside host and path, and does to them.

Invariant: what passes here the manager takes too: both ask `rookery.http_rules`.
"""

from rookery.compose.view import View
from rookery.http_rules import STATUSES, rules_faults
from rookery.model import HeaderEdit, HeaderField, HttpRules, RateLimit, Redirect


def http_rules(view: View, path: str) -> HttpRules:
    """The rules; what can't be carried out is reported. `path` is the route's."""
    rules = HttpRules(
        methods=tuple(dict.fromkeys(method.upper() for method in view.texts("methods"))),
        headers=_fields(view, "headers"),
        rewrite=view.text("rewrite"),
        redirect=_redirect(view.child("redirect")) if view.has("redirect") else None,
        request_headers=_edit(view.child("request_headers")),
        response_headers=_edit(view.child("response_headers")),
        users=view.texts("basic_auth"),
        rate_limit=_rate_limit(view.child("rate_limit")) if view.has("rate_limit") else None,
        allow_from=view.texts("allow_from"),
    )
    if view.has("allow_from") and not rules.allow_from:
        view.error("allow_from", "nobody may ask", "name an address or a network, or leave it out")
    if view.has("basic_auth") and not rules.users:
        view.error("basic_auth", "nobody may ask", "name a user, or leave it out")
    told = set()
    for where, fault in rules_faults(rules, path):
        key = where.partition(".")[0]
        if (key, fault) not in told and not (key == "redirect" and rules.redirect and rules.redirect.status not in STATUSES):
            view.error(key, fault)
        told.add((key, fault))
    if rules.redirect is not None and rules.redirect.status not in STATUSES:
        view.child("redirect").error(
            "status", f"{rules.redirect.status} is no status of a redirect", "use 308, 307, 303, 302 or 301"
        )
    return rules


def _fields(view: View, key: str) -> tuple[HeaderField, ...]:
    found = []
    for name, value in view.pairs(key).items():
        if value is None:
            view.error(key, f"{name[:60]} has no value", f"write `{name[:60]}: VALUE`")
        else:
            found.append(HeaderField(name=name, value=value.strip(" \t")))
    return tuple(found)


def _edit(view: View) -> HeaderEdit:
    return HeaderEdit(set=_fields(view, "set"), remove=view.texts("remove"))


def _redirect(view: View) -> Redirect:
    return Redirect(
        scheme=view.text("scheme"),
        host=view.text("host").lower(),
        port=view.whole("port") or 0,
        path=view.text("path"),
        status=view.whole("status") or Redirect().status,
    )


def _rate_limit(view: View) -> RateLimit | None:
    requests, per_s = view.whole("requests"), view.seconds("per") if view.has("per") else 1.0
    if per_s == 0:
        view.error("per", "is no time to count requests in", "leave it out for 1s")
    if not requests or not per_s:
        return None
    return RateLimit(per_s=requests / per_s, burst=view.whole("burst") or requests, by_client=view.text("by") != "route")
