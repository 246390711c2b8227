# The service in an image of its own: the binary, the C library, the certificates, and nothing that could be started
# by somebody else.
#
#   docker build --build-arg CODE_VERSION="$(git rev-parse HEAD)" -t cruddur-backend .
#   docker run --read-only --cap-drop ALL --stop-timeout 15 -p 4567:4567 -v spool:/var/lib/cruddur cruddur-backend

# Not the slim one, which has no make for the allocator.
FROM docker.io/library/rust:1.95.0-bookworm AS build
WORKDIR /build

# What the service is made of, in a layer that only a change of it makes anew: the sources are empty here.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/it/main.rs \
    && cargo build --release --locked

# A source that is older than the empty one would be taken for built. The debugging information names the lines of a
# failure; compressed it is a quarter of the size.
COPY build.rs ./
COPY aws aws
COPY src src
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked \
    && objcopy --compress-debug-sections target/release/cruddur /usr/local/bin/cruddur \
    && cruddur --version

# All there will be: what the binary is linked to, whom it trusts, and an empty spool.
RUN mkdir -p /image/etc /image/spool/cruddur \
    && cp --parents /usr/local/bin/cruddur /etc/ssl/certs/ca-certificates.crt /image \
    && ldd /usr/local/bin/cruddur > linked \
    && grep -o '/[^ ]*' linked > libraries \
    && xargs --arg-file=libraries cp --parents --dereference --target-directory=/image \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && echo 'cruddur:x:65532:65532::/var/lib/cruddur:/nonexistent' > /image/etc/passwd \
    && mv /image/spool /spool

FROM scratch
ARG CODE_VERSION=""
LABEL org.opencontainers.image.title="Cruddur backend" \
    org.opencontainers.image.description="An Axum service observed once and seen in four places" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.revision="$CODE_VERSION"
COPY --from=build /image /
COPY --from=build --chown=65532:65532 /spool /var/lib
ENV CODE_VERSION="$CODE_VERSION" SPOOL_DIR="/var/lib/cruddur"
USER 65532:65532
EXPOSE 4567
VOLUME ["/var/lib/cruddur"]
# There is no shell: the binary asks itself.
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/cruddur", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/cruddur"]
