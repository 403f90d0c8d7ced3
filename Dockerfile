# One image for all processes of Denizen (target denizen), and the two that stand around it: edge and postgres.
FROM debian:bookworm-slim AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      gcc libc6-dev cmake ninja-build pkg-config python3 protobuf-compiler protobuf-c-compiler libprotobuf-c-dev \
      libcivetweb-dev libzmq3-dev libczmq-dev libpq-dev libssl-dev libjwt-dev libjansson-dev libsodium-dev libargon2-dev \
      libcrypt-dev libutf8proc-dev libidn2-dev
WORKDIR /src
COPY . .
RUN cmake --preset release && ninja -C build/release && mkdir /out && \
    find build/release -type f -name 'denizen-*' -perm -u+x -exec cp {} /out/ \; && strip /out/*

FROM debian:bookworm-slim AS base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get upgrade -y && rm -rf /var/lib/apt/lists/*

FROM base AS denizen
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libcivetweb1 libzmq5 libprotobuf-c1 libpq5 libssl3 libjansson4 libsodium23 libargon2-1 libcrypt1 libutf8proc2 libidn2-0 && \
    rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /usr/share/locale && \
    useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin denizen && \
    mkdir -p /keys /run/denizen/public /run/denizen/secret /run/denizen/credentials && \
    for p in identity claims session audit gateway postgres; do mkdir -p /secrets/$p; done && \
    chown -R denizen /keys /secrets /run/denizen && chmod -R go-rwx /keys /secrets /run/denizen/secret /run/denizen/credentials
COPY --from=build /out/ /usr/local/bin/
COPY deploy/image/denizen-keys-step deploy/image/denizen-migrate-step /usr/local/bin/
USER denizen

FROM base AS edge
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends haproxy openssl && \
    rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man && mkdir -p /certificates && chown haproxy: /certificates
COPY deploy/haproxy/haproxy.cfg /etc/denizen/haproxy.cfg
COPY deploy/image/denizen-edge /usr/local/bin/
USER haproxy
ENTRYPOINT ["/usr/local/bin/denizen-edge"]

FROM base AS postgres
RUN mkdir -p /etc/postgresql-common/createcluster.d && \
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/denizen.conf && \
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15 && \
    rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man && mkdir -p /var/lib/denizen/postgres && \
    usermod -u 10002 postgres && chown -R postgres: /var/lib/denizen /var/run/postgresql && chmod 700 /var/lib/denizen/postgres
COPY deploy/image/denizen-postgres /usr/local/bin/
USER postgres
ENTRYPOINT ["/usr/local/bin/denizen-postgres"]
