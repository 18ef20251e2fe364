"""Looks for known vulnerabilities in what is installed, with pip-audit, where the data for that can be reached.

    python packaging/audit_dependencies.py            fails where something is found
    python packaging/audit_dependencies.py --gently   says it, and never fails: what the world learns of a library breaks no build

Without the data (no network, a mirror that has none) it says that it was skipped, within a few seconds.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from importlib.metadata import version
from pathlib import Path

PROBE = "grpcio"
REACH_S = 3.0
INSTALL_S, AUDIT_S = 120.0, 60.0
TOOL = Path(sys.prefix).parent / ".audit"  # of its own: it brings some thirty packages that nothing here needs


def unreachable() -> str:
    """Why there is no data; empty where there is."""
    url = f"https://pypi.org/pypi/{PROBE}/{version(PROBE)}/json"
    try:
        with urllib.request.urlopen(url, timeout=REACH_S) as answer:
            told = json.load(answer)
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    return "" if "vulnerabilities" in told else f"{url} tells nothing of vulnerabilities"


def audit() -> subprocess.CompletedProcess[str]:
    python = TOOL / "bin" / "python"
    if not (TOOL / ".ready").exists():
        venv.create(TOOL, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit"]
        subprocess.run(install, check=True, timeout=INSTALL_S)
        (TOOL / ".ready").touch()
    paths = [path for path in sys.path if path.endswith("site-packages")]
    command = [python, "-m", "pip_audit", "--progress-spinner", "off", "--skip-editable", "--timeout", "10"]
    for path in paths:
        command += ["--path", path]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=AUDIT_S)


def main() -> int:
    gently = "--gently" in sys.argv[1:]
    why = unreachable()
    if not why:
        try:
            done = audit()
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
    if why:
        print(f"SKIPPED, known vulnerabilities of dependencies were not looked for: {why}")
        return 0
    print((done.stdout.strip() or done.stderr.strip()) if done.returncode else "no known vulnerabilities in dependencies")
    return 0 if gently else done.returncode


if __name__ == "__main__":
    sys.exit(main())
