# API and keeper. No torch.
#
#   docker build -f docker/service.Dockerfile -t darkroom-service .

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /build
RUN python -m venv /opt/darkroom
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY darkroom darkroom
COPY service service
COPY web web
COPY worker worker
RUN /opt/darkroom/bin/pip install --no-cache-dir -c constraints.txt ".[service]"
# Of the models the service reads the configurations only.
COPY models.toml /srv/darkroom/
COPY models /srv/darkroom/models
RUN find /srv/darkroom/models -name "*.safetensors" -delete

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home darkroom \
    && install --directory --owner=darkroom /data
COPY --from=build /opt/darkroom /opt/darkroom
COPY --from=build /srv/darkroom /srv/darkroom
ENV PATH=/opt/darkroom/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DARKROOM_HOST=0.0.0.0 \
    DARKROOM_PORT=8000 \
    DARKROOM_STATE_DIR=/data \
    DARKROOM_MODELS=/srv/darkroom/models.toml
WORKDIR /srv/darkroom
# By number, so that a cluster can see that it is not root.
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["darkroom", "api"]
