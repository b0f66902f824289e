# A worker. torch's own wheels bring the CUDA libraries, so a slim Python is all it stands on; the
# host needs the NVIDIA driver and its container toolkit.
#
#   docker build -f docker/worker.Dockerfile -t darkroom-worker .
#   ... --build-arg TORCH_INDEX=URL     another build of torch, such as one for the CPU only

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=""
WORKDIR /build
RUN python -m venv /opt/darkroom
# A layer of its own: gigabytes that change with constraints.txt only.
COPY constraints.txt ./
RUN /opt/darkroom/bin/pip install --no-cache-dir -c constraints.txt \
    ${TORCH_INDEX:+--no-deps --index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY darkroom darkroom
COPY service service
COPY web web
COPY worker worker
RUN /opt/darkroom/bin/pip install --no-cache-dir -c constraints.txt ".[worker]"

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home darkroom \
    && install --directory --owner=darkroom /data /huggingface
COPY --from=build /opt/darkroom /opt/darkroom
COPY models.toml /srv/darkroom/
COPY models /srv/darkroom/models
ENV PATH=/opt/darkroom/bin:$PATH \
    HOME=/tmp \
    HF_HOME=/huggingface \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    DARKROOM_STATE_DIR=/data \
    DARKROOM_MODELS=/srv/darkroom/models.toml
WORKDIR /srv/darkroom
# By number, so that a cluster can see that it is not root.
USER 10001
VOLUME ["/data", "/huggingface"]
STOPSIGNAL SIGTERM
# The supervisor gives signs of life while a model loads, so no long start period is needed.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["darkroom", "worker-health"]
CMD ["darkroom", "worker"]
