# Vortex in a container.      docker build -t klimeai:0.1.0 .
#
#   docker run --rm -p 127.0.0.1:8000:8000 -v vortex:/var/lib/vortex --read-only --tmpfs /tmp --cap-drop ALL \
#     -e KLIMEAI_API_TOKEN=devtoken klimeai:0.1.0
#
# Not root, a root file system that may be read-only, one volume for models and state. On a GPU: --gpus all, and build with
# --build-arg EXTRA=torch.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
ARG EXTRA=api
COPY --from=build /wheels /wheels
RUN wheel="$(ls /wheels/klimeai-*.whl)" \
    && pip install --no-cache-dir "${wheel}[${EXTRA}]" \
    && rm -rf /wheels \
    && useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/vortex vortex
ENV HOME=/var/lib/vortex \
    VORTEX_HOME=/var/lib/vortex/models \
    VORTEX_DATA=/var/lib/vortex/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/vortex
VOLUME ["/var/lib/vortex"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["vortex"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
