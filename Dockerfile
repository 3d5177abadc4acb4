# Posthouse as an image: docker build -t posthouse .
#
#   docker run -p 3000:3000 -v posthouse:/data -e POSTHOUSE_SECRET=… posthouse
#
# POSTHOUSE_SECRET (32 characters or more, the same at every start) guards keys and
# credentials; without one the server refuses to listen beyond its own container.
# Everything that must be kept is in /data. Commands go to the running container:
# docker exec CONTAINER posthouse key create app

FROM python:3.11-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /app
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-dev --no-install-project
COPY src ./src
RUN uv sync --frozen --no-dev --no-editable

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /data --no-log-init posthouse \
    && install --directory --owner=posthouse --group=posthouse --mode=0700 /data
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    POSTHOUSE_DATA=/data \
    POSTHOUSE_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ.get('POSTHOUSE_PORT', 3000)}/health/live\", timeout=2)"]
ENTRYPOINT ["posthouse"]
CMD ["serve"]
