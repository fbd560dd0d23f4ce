"""`make bench`: every hot path against its bare limit, one after the other, into one file. A fleet is seeded once for all that start from one."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_S = 900  # each


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--devices", type=int, default=1000000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", help="names, with commas between: ingest,http,store,poll,artifact")
    parser.add_argument("--json", required=True)
    o = parser.parse_args()
    total, worst = [], 0
    with tempfile.TemporaryDirectory() as folder:
        seeded = ["--fleet", str(pathlib.Path(folder) / "fleet"), "--devices", str(o.devices)]
        benches = {"ingest": seeded, "http": seeded, "store": seeded, "poll": ["--devices", str(min(o.devices, 100000))], "artifact": []}
        for name in o.only.split(",") if o.only else benches:
            print(f"== {name}", flush=True)
            path = pathlib.Path(folder) / f"{name}.json"
            command = [sys.executable, HERE / f"bench_{name}.py", "--build", o.build, "--runs", str(o.runs), "--json", path, *benches[name]]
            try:
                code = subprocess.run(command, check=False, timeout=LIMIT_S).returncode
            except subprocess.TimeoutExpired:
                code = 2
            worst = max(worst, code)
            if path.exists():
                total.append(json.loads(path.read_text()))
            else:
                print(f"{name}: no figures, status {code}", flush=True)
    pathlib.Path(o.json).write_text(json.dumps({"benches": total}, indent=1) + "\n")
    print(f"written to {o.json}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
