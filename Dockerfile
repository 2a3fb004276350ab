# docker build --build-arg REVISION=$(git rev-parse --short HEAD) -t lighthouse-telemetry:0.1.0 .
# What is in it: make sbom. The files go beside the image, as attestations, not into it.

FROM rust:1.95-bookworm AS build
# The mappers are WebAssembly.
RUN rustup target add wasm32-unknown-unknown
WORKDIR /source
COPY . .
ARG REVISION=unknown
RUN version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1) \
 && LIGHTHOUSE_TELEMETRY_VERSION="$version ($REVISION)" \
    cargo build --release --locked --workspace --bin lighthouse-telemetry \
 && target/release/lighthouse-telemetry --version

# glibc and the certificates of public authorities; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/lighthouse-telemetry /usr/local/bin/lighthouse-telemetry
COPY --from=build /source/LICENSE /usr/share/doc/lighthouse-telemetry/LICENSE
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/lighthouse-telemetry"]
CMD ["serve"]
