# Everything a developer or CI runs is here; nothing is only possible in CI. `make help` lists it.

# Some machines pin GOTOOLCHAIN=local to a Go with known HTTP/2 crashes: the toolchain is part of the build.
export GOTOOLCHAIN := go1.27.4

GO      ?= go
BIN     ?= bin/waypoint
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# The modules with tests that need nothing but Go. e2e is a module too, with peers that nobody here wrote.
MODULES := . cmd/demo

FUZZTIME ?= 20s
# The suites of `make e2e`, by folder of e2e/, separated by commas. Empty: all of them.
E2E      ?=
comma    := ,
SUITES    = $(if $(E2E),$(patsubst %,./%/...,$(subst $(comma), ,$(E2E))),./...)
# Flags for the demo: `make demo ARGS=--serve`.
ARGS     ?=

TOOL  := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
COUNT := $(GO) run ./internal/tally

# Where generated files go; generate-check points them elsewhere and compares.
CRDS     := manifests/crds
DEEPCOPY := pkg/api/v1alpha1

.DEFAULT_GOAL := help
.PHONY: help demo build test race lint vuln fuzz generate generate-check e2e kind-up bench image clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

demo: ## a mesh in one process: real calls, and what became of each (ARGS=--serve keeps it up)
	@cd cmd/demo && $(GO) run . $(ARGS)

build: ## bin/waypoint: static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/waypoint

test: ## the tests of every module that needs nothing but Go
	@$(COUNT) -modules '$(MODULES)' ./...

race: ## the same under the race detector (needs a C compiler)
	@$(COUNT) -modules '$(MODULES)' -race ./...

lint: ## gofmt, go vet, staticcheck, tidy go.mod files
	@GO='$(GO)' tools/lint '$(MODULES) e2e e2e/identity/zitadel e2e/identity/opa'

vuln: ## govulncheck; says so and passes where its database cannot be reached
	@GO='$(GO)' tools/vuln '$(MODULES)'

fuzz: ## every fuzz target of every module for FUZZTIME each (20s)
	@GO='$(GO)' tools/fuzz '$(MODULES) e2e' $(FUZZTIME)

generate: ## CRDs and deep copies from the Go types
	$(TOOL) controller-gen crd object paths=./pkg/api/... output:crd:dir=$(CRDS) output:object:dir=$(DEEPCOPY)

generate-check: ## fails if `make generate` would change anything
	@rm -rf out/_generated
	@$(MAKE) --no-print-directory generate CRDS=out/_generated/crds DEEPCOPY=out/_generated/deepcopy
	diff -ru manifests/crds out/_generated/crds
	diff -u pkg/api/v1alpha1/zz_generated.deepcopy.go out/_generated/deepcopy/zz_generated.deepcopy.go

# The suites that need an API server and an istiod: real ones on loopback, built once per machine (tools/controlplane), unless
# E2E_KUBECONFIG names a cluster.
CONTROLLED := istio kube crds
controlled  = $(if $(E2E_KUBECONFIG),,$(if $(E2E),$(filter $(CONTROLLED),$(subst $(comma), ,$(E2E))),all))

e2e: ## against peers nobody here wrote (E2E=hbone,mcp runs some of the suites)
	@$(if $(controlled),WAYMARK_CONTROLPLANE="$$(tools/controlplane/build)" || exit 1; export WAYMARK_CONTROLPLANE;) \
	JSON_TEST_SUITE="$${JSON_TEST_SUITE:-$$(tools/jsonsuite)}" $(COUNT) -modules e2e -p 1 -count=1 -timeout 10m $(SUITES)

kind-up: image ## a kind cluster with Istio ambient and this waypoint (needs docker and kind)
	@e2e/kind/up waymark/waypoint:$(VERSION)

bench: ## the ratios of docs/performance.md, each with its floor from the same run
	@cd e2e && $(GO) run ./bench

image: build ## a container image FROM scratch, with docker, podman or buildah
	@tools/image $(BIN) waymark/waypoint:$(VERSION)

clean: ## remove what the targets above leave behind
	rm -rf bin out
