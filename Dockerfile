# circuitkit on a slim image: no X11, no GLib, no compiler, not root.
#
#     docker build -t circuitkit .
#     docker run --rm -v "$PWD/reports:/home/user/reports" circuitkit run ioi
#
# The mounted folder must be writable by user 1000. Without a GPU, torch's CPU wheels save gigabytes;
# with one, build with --build-arg TORCH_INDEX=https://pypi.org/simple
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/circuitkit
COPY constraints.txt ./
# Torch first, in a layer of its own: it is most of the image and changes least.
RUN pip install --extra-index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE circuitkit_pytest.py ./
COPY circuitkit ./circuitkit
COPY tasks ./tasks
RUN pip install -c constraints.txt . && useradd --create-home --uid 1000 user

USER user
WORKDIR /home/user
ENTRYPOINT ["circuitkit"]
CMD ["--help"]
