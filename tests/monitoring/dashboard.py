"""The Grafana dashboard, charts/entrepot/files/dashboard.json: dashboard.py writes it, and a test compares.

A dashboard in JSON is a thousand lines that nobody reads; here are the rows and panels, their questions to Prometheus
and what they are called."""

import json
import pathlib
import sys

PATH = pathlib.Path(__file__).resolve().parents[2] / "charts/entrepot/files/dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHERE = 'job=~"$job", instance=~"$instance"'
WIDTH = 24
RATE = "[$__rate_interval]"


def target(expr, legend, instant=False):
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": instant, "range": not instant}


class Panels:
    """Panels side by side, from left to right and from the top down."""

    def __init__(self):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def row(self, title):
        self.y += self.height
        self.x = self.height = 0
        self.panels.append({"id": len(self.panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": self.y}})
        self.y += 1

    def add(self, kind, title, description, unit, targets, width, height, thresholds=None, options=None, custom=None):
        if self.x + width > WIDTH:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        defaults = {"unit": unit, "custom": custom or {},
                    "thresholds": {"mode": "absolute", "steps": thresholds or [{"color": "green", "value": None}]},
                    "color": {"mode": "thresholds" if thresholds or kind == "stat" else "palette-classic"}}
        self.panels.append({
            "id": len(self.panels) + 1, "type": kind, "title": title, "description": description, "datasource": SOURCE,
            "gridPos": {"h": height, "w": width, "x": self.x, "y": self.y},
            "targets": [dict(t, refId=chr(ord("A") + i)) for i, t in enumerate(targets)],
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options or {}})
        self.x += width
        self.height = max(self.height, height)

    def stat(self, title, description, unit, expr, thresholds=None, legend=""):
        self.add("stat", title, description, unit, [target(expr, legend, instant=True)], 4, 4, thresholds,
                 {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value",
                  "graphMode": "none", "textMode": "auto"})

    def graph(self, title, description, unit, *targets, stack=False):
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 20 if stack else 5, "showPoints": "never",
                  "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
        self.add("timeseries", title, description, unit, targets, 12, 8, None,
                 {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                  "tooltip": {"mode": "multi", "sort": "desc"}}, custom)


def steps(*pairs):
    return [{"color": color, "value": value} for value, color in pairs]


def total(metric, by="", more="", over=RATE):
    labels = ", ".join([WHERE] + ([more] if more else []))
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}{over}))"


def quantile(q, metric, by, more=""):
    return f"histogram_quantile({q}, {total(metric + '_bucket', 'le, ' + by, more)})"


def panels():
    p = Panels()
    pulls = 'object=~"manifest|blob"'
    all_pulls = total("entrepot_requests_total", "", pulls, "[1h]")
    failed = total("entrepot_requests_total", "", pulls + ', status="5xx"', "[1h]")
    stored = total("entrepot_requests_total", "", pulls + ', outcome=~"hit|stale"', "[1h]")
    p.row("Do pulls go well?")
    p.stat("Pulls that failed, 1 h", "Of requests for manifests and blobs; 0.1 % may.", "percentunit",
           f"({failed} or vector(0)) / {all_pulls}",
           steps((None, "green"), (0.001, "orange"), (0.0144, "red")))
    p.stat("Served from the store, 1 h", "Pulls that needed no upstream.", "percentunit",
           f"({stored} or vector(0)) / {all_pulls}")
    p.stat("Pull limit left", "Of the account that has least; nothing here is no limit known.", "percentunit",
           f"min(entrepot_budget_remaining{{{WHERE}}} / entrepot_budget_limit{{{WHERE}}})",
           steps((None, "red"), (0.15, "orange"), (0.3, "green")))
    p.stat("Upstreams that fail", "Sources whose breaker is open.", "none",
           f"count(entrepot_upstream_breaker_state{{{WHERE}}} == 2) or vector(0)", steps((None, "green"), (1, "orange")))
    p.stat("Stored", "Bytes of all blobs, of all replicas.", "bytes", f"sum(entrepot_store_bytes{{{WHERE}}})")
    p.stat("Damaged, 7 d", "Stored blobs that were not what they should be.", "none",
           f"sum(increase(entrepot_damaged_blobs_total{{{WHERE}}}[7d])) or vector(0)", steps((None, "green"), (1, "red")))
    p.graph("Requests", "By where the answer came from.", "reqps",
            target(total("entrepot_requests_total", "outcome", pulls), "{{outcome}}"), stack=True)
    p.graph("First byte", "How long a client waits until the answer begins to flow.", "s",
            *[target(quantile(q, "entrepot_request_first_byte_seconds", "outcome", pulls), f"{{{{outcome}}}}, {name}")
              for q, name in ((0.5, "half"), (0.99, "99 of 100"))])
    p.graph("Bytes", "To clients, and from upstreams for them.", "Bps",
            target(total("entrepot_response_bytes_total"), "to clients"),
            target(total("entrepot_upstream_bytes_total"), "from upstreams"),
            target(total("entrepot_stored_bytes_total"), "of these, distinct"))
    p.graph("Failures", "Answers 5xx and 4xx.", "reqps",
            target(total("entrepot_requests_total", "object, status", 'status=~"4xx|5xx"'), "{{object}}, {{status}}"))
    p.row("Docker Hub's budget, and other upstreams")
    p.graph("Pull limit left", "What each account has left, as the registry said last.", "none",
            target(f"min by (registry, account) (entrepot_budget_remaining{{{WHERE}}})", "{{registry}} {{account}}"))
    p.graph("Spent by", "Requests that a pull limit counts, by who waited for them and why.", "reqps",
            target(total("entrepot_upstream_counted_requests_total", "class, cause"), "{{class}}, {{cause}}"), stack=True)
    p.graph("Refused by upstreams", "Answers 429, by the limit that was met.", "reqps",
            target(total("entrepot_upstream_limited_total", "registry, kind"), "{{registry}}, {{kind}}"))
    p.graph("Served past their time", "Tags that no upstream could be asked about.", "reqps",
            target(total("entrepot_stale_served_total", "registry"), "{{registry}}"))
    p.graph("Breakers", "0: the source is asked, 1: it is tried, 2: it is left in peace.", "none",
            target(f"max by (registry, source) (entrepot_upstream_breaker_state{{{WHERE}}})", "{{registry}}, {{source}}"))
    p.graph("Flights", "Blobs on their way.", "none",
            target(f"sum(entrepot_flights_active{{{WHERE}}})", "now"),
            target(total("entrepot_flights_resumed_total") + " * 60", "resumed a minute"),
            target(total("entrepot_flights_failed_total") + " * 60", "failed a minute"))
    p.row("The store")
    p.graph("Room", "What is stored, its bound, and what the disk has left.", "bytes",
            target(f"entrepot_store_bytes{{{WHERE}}}", "{{instance}} stored"),
            target(f"entrepot_store_limit_bytes{{{WHERE}}}", "{{instance}} bound"),
            target(f"entrepot_store_available_bytes{{{WHERE}}}", "{{instance}} left on the disk"))
    p.graph("What goes", "Evicted because it was not used for long.", "Bps",
            target(total("entrepot_evicted_bytes_total", "instance"), "{{instance}}"))
    p.graph("Scrub", "Bytes read to see whether they still are right.", "Bps",
            target(total("entrepot_scrubbed_bytes_total", "instance"), "{{instance}}"))
    p.graph("Connections", "Clients' open connections, and how many there may be.", "none",
            target(f"entrepot_connections{{{WHERE}}}", "{{instance}}"),
            target(f"entrepot_connections_limit{{{WHERE}}}", "{{instance}} limit"))
    return p.panels


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
            "refresh": 2, "multi": True, "includeAll": True, "sort": 1, "hide": 0, "regex": "",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": []}


def dashboard():
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
              "regex": "", "refresh": 1, "multi": False, "includeAll": False, "options": []}
    return {
        "uid": "entrepot", "title": "Entrepot", "tags": ["entrepot", "registry"], "schemaVersion": 38, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "1m", "time": {"from": "now-6h", "to": "now"}, "timezone": "",
        "description": "Pulls through the mirror, the budget of its upstreams, and its store.",
        "annotations": {"list": []}, "links": [],
        "templating": {"list": [source,
                                variable("job", "Job", "label_values(entrepot_build_info, job)"),
                                variable("instance", "Instance",
                                         'label_values(entrepot_build_info{job=~"$job"}, instance)')]},
        "panels": panels(),
    }


def text():
    return json.dumps(dashboard(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    sys.exit(0)
