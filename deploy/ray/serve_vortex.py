"""Vortex on Ray Serve: the same application as `vortex serve`, in replicas that Ray places and starts again.

    pip install 'klimeai[ray]'
    python deploy/ray/serve_vortex.py --replicas 2                    # http://127.0.0.1:8000/v1, until Ctrl-C
    python deploy/ray/serve_vortex.py --address auto --gpus 1 ...     # on a cluster that runs already

TRUSTED NETWORK ONLY. Ray's own daemons listen on the node's address; whoever gets past them can run programs there. New
versions of Ray ask each other for a token, older ones for nothing (RAY_AUTH_MODE). Keep the ports of its nodes behind
a firewall. Vortex's own door asks for KLIMEAI_API_TOKEN beyond this machine. Ray spreads requests by load: for prefixes
that are found again put L-kn in front of plain servers.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import ray
from ray import serve


def application(options: argparse.Namespace) -> serve.Application:
    flags = {"model.name": options.model, "model.backend": options.backend}
    profile, host = options.profile, options.host

    def build() -> Any:  # runs in each replica
        from vortex.cli.asgi import build_app

        return build_app(profile, {name: value for name, value in flags.items() if value}, host=host)

    ingress = serve.ingress(build)()
    resources = {"num_cpus": options.cpus, "num_gpus": options.gpus}
    replicas = serve.deployment(name="vortex", num_replicas=options.replicas, ray_actor_options=resources)
    return replicas(ingress).bind()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--address", help="a cluster's address, or auto; default: start Ray on this machine")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--cpus", type=float, default=1, help="cores of a replica")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a replica")
    parser.add_argument("--profile")
    parser.add_argument("--model")
    parser.add_argument("--backend")
    options = parser.parse_args()
    print("Ray's daemons listen on this node's address: use a trusted network only.", flush=True)
    ray.init(address=options.address, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": options.host, "port": options.port})
    serve.run(application(options), name="vortex", route_prefix="/")
    print(f"serving on http://{options.host}:{options.port}/v1 with {options.replicas} replicas", flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        serve.shutdown()


if __name__ == "__main__":
    main()
