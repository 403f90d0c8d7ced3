# One image for all processes of Denizen (target denizen), and the two that stand around it: edge and postgres.
# Those come first: a builder that makes every stage before its target does not compile for them.
FROM debian:bookworm-slim AS base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get upgrade -y && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM base AS edge
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends haproxy openssl && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc /usr/share/man && \
    mkdir /certificates && chown haproxy:haproxy /certificates && chmod 700 /certificates
COPY deploy/haproxy /etc/denizen/
COPY deploy/image/denizen-edge deploy/image/denizen-edge-health /usr/local/bin/
USER haproxy
ENTRYPOINT ["/usr/local/bin/denizen-edge"]

# Just-in-time compilation is off (deploy/image/denizen-postgres), so its compiler is left out: 130 MB.
FROM base AS postgres
RUN mkdir -p /etc/postgresql-common/createcluster.d && \
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/denizen.conf && \
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15 && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc /usr/share/man /usr/share/locale \
      /usr/lib/*/libLLVM-*.so* /usr/lib/llvm-* /usr/lib/postgresql/15/lib/llvmjit* /usr/lib/postgresql/15/lib/bitcode && \
    groupadd --gid 10001 denizen && usermod --uid 10002 --append --groups denizen postgres && \
    mkdir -p /var/lib/denizen/postgres /secrets && chown -R postgres:postgres /var/lib/denizen /var/run/postgresql && \
    chmod 700 /var/lib/denizen/postgres && chown 10001:10001 /secrets && chmod 750 /secrets
COPY deploy/image/denizen-postgres /usr/local/bin/
USER postgres
ENTRYPOINT ["/usr/local/bin/denizen-postgres"]

FROM debian:bookworm-slim AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      gcc libc6-dev cmake ninja-build pkg-config python3 protobuf-compiler protobuf-c-compiler libprotobuf-c-dev \
      libcivetweb-dev libzmq3-dev libpq-dev libssl-dev libjansson-dev libsodium-dev libargon2-dev \
      libcrypt-dev libutf8proc-dev libidn2-dev && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY proto proto
COPY common common
# The subscriber's library needs czmq, which the processes do not: its folder leaves itself out.
COPY sdk/c/CMakeLists.txt sdk/c/
COPY deploy/CMakeLists.txt deploy/
COPY deploy/launcher deploy/launcher
COPY services services
COPY gateway gateway
RUN cmake --preset release && ninja -C build/release && mkdir /out && \
    for p in audit claims gateway identity keys session; do \
      find build/release -type f -name "denizen-$p" -exec cp {} /out/ \; && strip "/out/denizen-$p" || exit 1; \
    done

FROM base AS denizen
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libcivetweb1 libzmq5 libprotobuf-c1 libpq5 libssl3 libjansson4 libsodium23 libargon2-1 libcrypt1 libutf8proc2 libidn2-0 && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc /usr/share/man /usr/share/locale && \
    groupadd --gid 10001 denizen && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin denizen && \
    mkdir -p /keys /run/denizen/public /run/denizen/secret /run/denizen/credentials && \
    for p in identity claims session audit gateway postgres; do mkdir -p /secrets/$p; done && \
    chown -R denizen:denizen /keys /secrets /run/denizen && \
    chmod 700 /keys /secrets /secrets/* /run/denizen/secret /run/denizen/credentials && chmod 750 /secrets/postgres
COPY --from=build /out/ /usr/local/bin/
COPY deploy/image/denizen-keys-step deploy/image/denizen-migrate-step /usr/local/bin/
USER denizen
