#!/usr/bin/env python3
"""A night against wget on real documentation sites; README.md beside this file says what is checked."""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

SITES = {
    # name: (document root, start path, Debian package)
    "cppreference": ("/usr/share/cppreference/doc/html", "/en/index.html", "cppreference-doc-en-html"),
    "gimp-ru": ("/usr/share/gimp/2.0/help/ru", "/index.html", "gimp-help-ru"),
    "postgresql": ("/usr/share/doc/postgresql-doc-15/html", "/index.html", "postgresql-doc-15"),
}

NGINX = """
daemon off; pid {work}/nginx.pid; error_log {work}/error.log; worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
  include /etc/nginx/mime.types; default_type application/octet-stream;
  log_format plain '$request_method $status $body_bytes_sent $request_uri';
  access_log {work}/access-$server_name.log plain;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5; sendfile on; keepalive_requests 100000;
  charset utf-8;
{servers}
}}
"""
SERVER = '  server {{ listen 127.0.0.1:{port}; server_name {name}.localhost; root {root}; absolute_redirect off; }}\n'

CONFIG = """
allowlist = "{work}/allowlist.toml"
data = "{work}/data"
[listen]
http = ["127.0.0.1:{http}"]
https = []
forward = []
[night]
contact = "check@localhost"
site-requests-max = 16
site-requests-per-s = 1000000
[origin.hosts]
{hosts}
"""

SITE = """
[[site]]
name = "{name}"
title = {{ kk = "{name}", ru = "{name}", en = "{name}" }}
class = "public-lessons"
hosts = ["{name}.localhost"]
traffic = "zero-rated"
tls = "terminate"
  [[site.rule]]
  path = "/**"
  anonymous = true
  fresh-min = "7d"
  [site.prefetch]
  start = ["http://{name}.localhost{start}"]
  sitemaps = false
  depth = 100
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


class Origin:
    def __init__(self, work, sites):
        self.work, self.sites, self.port, self.process = work, sites, free_port(), None
        user = "user root;" if os.getuid() == 0 else ""
        servers = "".join(SERVER.format(port=self.port, name=n, root=root) for n, (root, _) in sites.items())
        (work / "nginx.conf").write_text(NGINX.format(work=work, servers=servers, user=user))

    def start(self):
        self.process = subprocess.Popen(["nginx", "-c", self.work / "nginx.conf", "-p", self.work])
        wait_for(self.port)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def log(self, name):
        """(requests, answers with a body, body bytes) since the last call, and the paths of the 200s."""
        path = self.work / f"access-{name}.localhost.log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("") if path.exists() else None
        rows = [line.split(" ", 3) for line in lines]
        whole = [row for row in rows if row[1] == "200"]
        return len(rows), len(whole), sum(int(row[2]) for row in whole), [row[3] for row in whole]


def wget_mirror(work, name, port, start):
    """wget's mirror of a site: URL path to SHA-256, and the seconds it took."""
    out = work / f"wget-{name}"
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    subprocess.run(
        ["wget", "--mirror", "--page-requisites", "--no-verbose", "-e", "robots=on", "--no-proxy",
         "--restrict-file-names=nocontrol", "-P", out, "-o", work / f"wget-{name}.log",
         "--header", f"Host: {name}.localhost", f"http://127.0.0.1:{port}{start}"], check=False)
    return time.monotonic() - began


def urls_of_wget(work, name):
    """The URLs that wget got with 200, from its log."""
    text = (work / f"wget-{name}.log").read_text(errors="replace")
    found = re.findall(r"^\S+ \S+ URL:?\s?http://[^/]+(/\S*) \[", text, re.M)
    return sorted(set(found) - {"/robots.txt"})


def ask(port, host, path, conn=None):
    own = conn is None
    conn = conn or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    conn.request("GET", path, headers={"Host": host, "Accept-Encoding": "gzip, identity;q=0.5"})
    response = conn.getresponse()
    body = response.read()
    if own:
        conn.close()
    return response.status, body, dict((k.lower(), v) for k, v in response.getheaders())


def digests(port, host, paths):
    def part(paths):
        conn, found = http.client.HTTPConnection("127.0.0.1", port, timeout=30), {}
        for path in paths:
            status, body, headers = ask(port, host, path, conn)
            if headers.get("content-encoding") == "gzip":
                import gzip
                body = gzip.decompress(body)
            found[path] = (status, hashlib.sha256(body).hexdigest())
        return found
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(part, [paths[i::4] for i in range(4)])
    return {path: value for found in parts for path, value in found.items()}


class Box:
    def __init__(self, binary, work, origin):
        self.binary, self.work, self.http, self.process = binary, work, free_port(), None
        (work / "allowlist.toml").write_text("".join(SITE.format(name=n, start=s) for n, (_, s) in origin.sites.items()))
        hosts = "\n".join(f'"{name}.localhost" = "127.0.0.1:{origin.port}"' for name in origin.sites)
        (work / "bulaq.toml").write_text(CONFIG.format(work=work, http=self.http, hosts=hosts))

    def command(self, *words):
        return [self.binary, *words, "--config", self.work / "bulaq.toml"]

    def night(self, name):
        began = time.monotonic()
        result = subprocess.run(self.command("prefetch", "--site", name), capture_output=True, text=True)
        return time.monotonic() - began, result

    def serve(self):
        with open(self.work / "serve.log", "ab") as log:
            self.process = subprocess.Popen(self.command("serve"), stdout=subprocess.DEVNULL, stderr=log)
        wait_for(self.http)

    def stop(self, sig=signal.SIGTERM):
        if self.process:
            self.process.send_signal(sig)
            self.process.wait()
            self.process = None


def check_whole(origin, box, work, verdicts):
    for name, (_, start) in origin.sites.items():
        origin.start()
        wget_s = wget_mirror(work, name, origin.port, start)
        paths = urls_of_wget(work, name)
        truth = digests(origin.port, f"{name}.localhost", paths)
        paths = [path for path in paths if truth[path][0] == 200]
        origin.log(name)
        first_s, first = box.night(name)
        requests, bodies, body_bytes, _ = origin.log(name)
        (work / f"night-{name}.txt").write_text(first.stdout + first.stderr)
        second_s, second = box.night(name)
        again, again_bodies, again_bytes, again_paths = origin.log(name)
        origin.stop()
        box.serve()
        told = digests(box.http, f"{name}.localhost", paths)
        box.stop()
        same = sum(told[path] == truth[path] for path in paths)
        missing = [path for path in paths if told[path] != truth[path]]
        share = same / max(1, len(paths)) * 100
        # robots.txt is asked for anew by every night, as RFC 9309 expects of a crawler.
        again_bodies -= sum(path == "/robots.txt" for path in again_paths)
        print(f"{name}: wget found {len(paths)} addresses in {wget_s:.1f} s; the night made {requests} requests "
              f"({bodies} bodies, {body_bytes / 1e6:.1f} MB) in {first_s:.1f} s")
        print(f"{name}: origin stopped: {same} of {len(paths)} answer 200 with the same bytes ({share:.2f} %)")
        print(f"{name}: second night: {again} requests, {again_bodies} bodies, in {second_s:.1f} s")
        for path in missing[:10]:
            print(f"    missing {path}: {told[path][0]}")
        verdicts.append((f"{name}: at least 99.9 % stored and the same", share >= 99.9))
        verdicts.append((f"{name}: no body twice", again_bodies == 0))


class Browser:
    """Headless Chromium behind chromedriver, spoken to over its own protocol (W3C WebDriver)."""

    def __init__(self, work):
        self.port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL)
        wait_for(self.port)
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", f"--user-data-dir={work}/chromium"]
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"performance": "ALL"}}}})["sessionId"]

    def call(self, method, path, body=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        return json.loads(conn.getresponse().read())["value"]

    def open(self, url):
        """Opens a page; (requests that ended well, what failed)."""
        own = f"/session/{self.session}"
        self.call("POST", f"{own}/url", {"url": url})
        good, failed, urls = 0, [], {}
        for entry in self.call("POST", f"{own}/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            parameters = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                urls[parameters["requestId"]] = parameters["request"]["url"]
            elif message["method"] == "Network.responseReceived":
                status = parameters["response"]["status"]
                good += status < 400
                if status >= 400:
                    failed.append(parameters["response"]["url"])
            elif message["method"] == "Network.loadingFailed":
                failed.append(urls.get(parameters["requestId"], ""))
        return good, failed

    def close(self):
        self.call("DELETE", f"/session/{self.session}")
        self.driver.terminate()
        self.driver.wait()


def check_browser(origin, box, work, sites, pages, verdicts):
    """With the origin stopped: random pages of each site in a real browser, and what failed to load.

    What the origin itself does not have (pages refer to missing fonts and scripts) can't be had from the box either, and
    other hosts are not on the list: neither counts.
    """
    box.serve()
    browser = Browser(work)
    try:
        for name in sites:
            paths = [path for path in urls_of_wget(work, name) if path.split("?")[0].endswith((".html", "/"))]
            good, failed = 0, []
            for path in random.sample(paths, min(pages, len(paths))):
                more, bad = browser.open(f"http://{name}.localhost:{box.http}{path}")
                good, failed = good + more, failed + bad
            host = f"http://{name}.localhost:{box.http}"
            asked = {url[len(host):] for url in failed if url.startswith(host)}
            origin.start()
            lost = [path for path in asked if ask(origin.port, f"{name}.localhost", path)[0] < 400]
            origin.stop()
            print(f"{name}: Chromium opened {min(pages, len(paths))} pages: {good} requests answered, {len(lost)} failed "
                  f"that the origin would have answered ({len(asked)} that it does not have either)")
            for path in lost[:10]:
                print(f"    {path}")
            verdicts.append((f"{name}: no failed request in Chromium", not lost))
    finally:
        browser.close()
        box.stop()


def check_time(binary, verdicts, pages=4000, rounds=3):
    with tempfile.TemporaryDirectory(prefix="bulaq-time-") as folder:
        work = pathlib.Path(folder)
        root = work / "root"
        root.mkdir()
        links = "".join(f'<a href="p{i}.html">{i}</a> ' for i in range(pages))
        (root / "index.html").write_text(f"<title>all</title>{links}")
        for i in range(pages):
            (root / f"p{i}.html").write_text(f"<title>{i}</title><p>{'lesson ' * 300}{i}</p><a href=index.html>up</a>")
        origin = Origin(work, {"pages": (str(root), "/index.html")})
        origin.start()
        ratios = []
        for round_ in range(rounds):
            shutil.rmtree(work / "data", ignore_errors=True)
            box = Box(binary, work, origin)
            wget_s = wget_mirror(work, "pages", origin.port, "/index.html")
            origin.log("pages")
            night_s, result = box.night("pages")
            _, bodies, _, _ = origin.log("pages")
            ratios.append(night_s / wget_s)
            print(f"time {round_ + 1}: {pages} pages: wget {wget_s:.2f} s, night {night_s:.2f} s "
                  f"({bodies} bodies), ratio {ratios[-1]:.2f}")
            verdicts.append((f"time {round_ + 1}: all pages fetched", bodies >= pages + 1))
        origin.stop()
        verdicts.append((f"a night is no slower than wget (median ratio {sorted(ratios)[rounds // 2]:.2f})",
                         sorted(ratios)[rounds // 2] <= 1))


def check_kill(binary, kills, verdicts, pages=3000):
    random.seed(os.urandom(8))
    with tempfile.TemporaryDirectory(prefix="bulaq-kill-") as folder:
        work = pathlib.Path(folder)
        root = work / "root"
        root.mkdir()
        bodies = {"/index.html": "<title>all</title>" + "".join(f'<a href="p{i}.html">{i}</a> ' for i in range(pages))}
        bodies |= {f"/p{i}.html": f"<title>{i}</title>" + f"lesson {i} " * (50 + i % 5000) for i in range(pages)}
        for path, body in bodies.items():
            (root / path[1:]).write_text(body)
        truth = {path: hashlib.sha256(body.encode()).hexdigest() for path, body in bodies.items()}
        origin = Origin(work, {"pages": (str(root), "/index.html")})
        origin.start()
        box = Box(binary, work, origin)
        torn, twice, complete = 0, 0, set()
        for n in range(kills):
            night = subprocess.Popen(box.command("prefetch"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0.05, 0.8))
            night.kill()
            night.wait()
            _, _, _, fetched = origin.log("pages")
            twice += sum(path in complete for path in fetched)
            origin.stop()
            box.serve()
            told = digests(box.http, "pages.localhost", sorted(truth))
            box.stop(signal.SIGKILL)
            torn += sum(status == 200 and digest != truth[path] for path, (status, digest) in told.items())
            complete = {path for path, (status, _) in told.items() if status == 200}
            print(f"kill {n + 1}: {len(complete)} of {len(truth)} complete, torn {torn}, fetched again {twice}")
            origin.start()
            if len(complete) == len(truth):
                shutil.rmtree(work / "data")
                complete = set()
        night_s, result = box.night("pages")
        _, _, _, fetched = origin.log("pages")
        twice += sum(path in complete for path in fetched)
        origin.stop()
        box.serve()
        told = digests(box.http, "pages.localhost", sorted(truth))
        box.stop()
        whole = sum(digest == truth[path] for path, (_, digest) in told.items())
        print(f"after {kills} kills the last night ended with {whole} of {len(truth)} pages")
        verdicts += [("nothing torn was served", torn == 0), ("nothing complete was fetched again", twice == 0),
                     ("the night was completed", whole == len(truth))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("binary", type=lambda text: str(pathlib.Path(text).resolve()))
    arguments.add_argument("--site", action="append", choices=SITES, help="only this site")
    arguments.add_argument("--kill", type=int, default=0, metavar="N")
    arguments.add_argument("--browser", type=int, default=0, metavar="N", help="open N pages of each site in Chromium")
    arguments.add_argument("--time", action="store_true")
    arguments.add_argument("--keep", type=pathlib.Path, help="a folder for what is made on the way, kept")
    options = arguments.parse_args()
    lacking = [tool for tool in ("nginx", "wget") if not shutil.which(tool)]
    if lacking:
        sys.exit(f"missing: {', '.join(lacking)}; apt-get install nginx-light wget")
    verdicts = []
    work = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="bulaq-real-"))
    work.mkdir(parents=True, exist_ok=True)
    sites = {}
    for name in options.site or SITES:
        root, start, package = SITES[name]
        if not os.path.isdir(root):
            sys.exit(f"missing: {root}; apt-get install {package}")
        sites[name] = (root, start)
    origin = Origin(work, sites)
    box = Box(options.binary, work, origin)
    try:
        check_whole(origin, box, work, verdicts)
    finally:
        origin.stop()
    if options.browser:
        check_browser(origin, box, work, sites, options.browser, verdicts)
    if options.kill:
        check_kill(options.binary, options.kill, verdicts)
    if options.time:
        check_time(options.binary, verdicts)
    if not options.keep:
        shutil.rmtree(work)
    for what, is_good in verdicts:
        print(f"{'ok  ' if is_good else 'FAIL'} {what}")
    sys.exit(0 if all(is_good for _, is_good in verdicts) else 1)


if __name__ == "__main__":
    main()
