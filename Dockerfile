# One static binary and nothing else: no shell, no package manager, no CA bundle. `make image` builds the binary first.
FROM scratch
LABEL org.opencontainers.image.title="waypoint" \
      org.opencontainers.image.description="Waymark, an Istio Ambient waypoint that understands agents" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY bin/waypoint /waypoint
# The user that Istio runs its own waypoints as.
USER 1337:1337
ENTRYPOINT ["/waypoint"]
