# Aviary in two stages: what builds it stays behind.
FROM debian:12-slim AS build
WORKDIR /src
COPY .ci .ci
RUN .ci/install build && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make WERROR= && make install DESTDIR=/out PREFIX=/usr

FROM debian:12-slim
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	ca-certificates curl libuv1 libmicrohttpd12 libmosquitto1 libsqlite3-0 libcjson1 libssl3 libcurl4 libinih1 libsystemd0 libgnutls30 \
	&& rm -rf /var/lib/apt/lists/* && useradd --system --home /var/lib/aviary --create-home aviary
COPY --from=build /out /
USER aviary
VOLUME /var/lib/aviary
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=2s CMD ["curl", "-fsS", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["/usr/bin/aviaryd"]
CMD ["--state-dir", "/var/lib/aviary"]
