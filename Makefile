# Targets for people and for CI. `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
export CGO_ENABLED := 0

# What `licensed --version` says. Outside a repository the build is a "devel" of now.
VERSION := $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)
INFO    := github.com/seed-357fa782/licensed/internal/buildinfo
LDFLAGS := -s -w -X $(INFO).version=$(VERSION) -X $(INFO).commit=$(COMMIT) -X $(INFO).date=$(DATE)

SYSTEMS := linux darwin windows freebsd

# Developer tools, installed under .tools when a target needs one. This golangci-lint contains gofumpt 0.12.0.
GOLANGCI_LINT := .tools/golangci-lint-v2.15.0/golangci-lint
BENCHSTAT     := .tools/benchstat-v0.0.0-20260908200009-22c9c6c9d4da/benchstat
APIDIFF       := .tools/apidiff-v0.0.0-20260908205506-85c1c2202aba/apidiff
DEADCODE      := .tools/deadcode-v0.52.0/deadcode

# Another implementation of the Token Status List, which a test compares with ours. Its version stands in package.json.
INTEROP := .tools/jwt-status-list-$(shell sed -n 's/.*"@sd-jwt\/jwt-status-list": "\([^"]*\)".*/\1/p' test/e2e/testdata/interop/package.json)

# What the verifier in TypeScript of docs/verify-elsewhere.md is compiled and run with.
ELSEWHERE := .tools/elsewhere-jose-$(shell sed -n 's/.*"jose": "\([^"]*\)".*/\1/p' docs/elsewhere/typescript/package.json)

# The browser's driver and axe-core, which look at the pages.
BROWSER_AT   := test/browser/testdata/playwright
browser-tool  = $(1)-$(shell sed -n 's/.*"$(1)": "\([^"]*\)".*/\1/p' $(BROWSER_AT)/package.json)
BROWSER      := .tools/$(call browser-tool,playwright-core)-$(call browser-tool,axe-core)

# Packages wait for databases, programs and disks as much as they compute, so twice as many as processors run at once.
TESTFLAGS := -shuffle=on -timeout=20m -p $(shell echo $$(( 2 * $$(getconf _NPROCESSORS_ONLN) )))
FUZZTIME  ?= 5s

# $(call run-tests,FLAGS,PACKAGES): prints failures, packages, and what was skipped and why.
run-tests = $(GO) test -json $(TESTFLAGS) $(1) $(2) | CGO_ENABLED=0 $(GO) run .ci/testreport.go

##@ To use it

.PHONY: build
build: ## Build bin/licensed and bin/licensectl, static and version stamped
	@mkdir -p bin
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/licensed ./licensectl
	@echo 'built bin/licensed and bin/licensectl ($(VERSION))'

.PHONY: build-pkcs11
build-pkcs11: ## The same with bin/licensed able to keep its keys on a PKCS #11 token (needs a C compiler)
	@mkdir -p bin
	@CGO_ENABLED=1 $(GO) build -trimpath -tags pkcs11 -ldflags '$(LDFLAGS)' -o bin/ ./cmd/licensed ./licensectl
	@echo 'built bin/licensed and bin/licensectl with PKCS #11 ($(VERSION))'

# The name of the library, and what the linker is told, by system. CABI is where it goes, CABI_FLAGS more flags for go build.
CABI      ?= bin
CABI_OS   := $(shell $(GO) env GOOS)
CABI_NAME := $(or $(patsubst darwin,liblicensed.dylib,$(filter darwin,$(CABI_OS))),$(patsubst windows,licensed.dll,$(filter windows,$(CABI_OS))),liblicensed.so)
CABI_LINK_darwin  := -Wl,-install_name,@rpath/liblicensed.dylib
CABI_LINK_windows :=
CABI_LINK := $(if $(filter darwin windows,$(CABI_OS)),$(CABI_LINK_$(CABI_OS)),-Wl,--version-script=$(CURDIR)/client/cabi/liblicensed.map -Wl,-soname,liblicensed.so)

.PHONY: cabi
cabi: ## Build package client as a C library into bin/, with its header (needs a C compiler)
	@mkdir -p '$(CABI)'
	@CGO_ENABLED=1 $(GO) build -trimpath $(CABI_FLAGS) -buildmode=c-shared \
		-ldflags "-s -w -X main.version=$(VERSION) -extldflags '$(CABI_LINK)'" -o '$(CABI)/$(CABI_NAME)' ./client/cabi
	@rm -f '$(CABI)/$(basename $(CABI_NAME)).h'
	@cp client/cabi/licensed.h client/cabi/licensed.hpp client/cabi/licensed.py '$(CABI)/'
	@echo 'built $(CABI)/$(CABI_NAME), licensed.h, licensed.hpp and licensed.py ($(VERSION))'

.PHONY: demo
demo: build ## Show the whole life of a licence on this machine
	@bin/licensectl demo

##@ To test it

.PHONY: test
test: interop-tools elsewhere-tools browser-tools ## Run every test that this machine can run, end to end included
	@$(call run-tests,,./...)

# In these packages nothing runs at the same time as anything else, which a test holds them to, and they compute a lot.
ALONE := client/qr internal/qrphoto license/token

# And these do a part of what they do under the race detector, which slows it down most.
PART := daemon/internal/market

.PHONY: race
race: interop-tools elsewhere-tools browser-tools ## The same with the race detector, where it can find something (needs a C compiler)
	@export CGO_ENABLED=1; all=$$($(GO) list ./... | grep -v $(ALONE:%=-e '/%$$')) && $(call run-tests,-race,$$all)
	@$(call run-tests,,$(ALONE:%=./%) $(PART:%=./%))

.PHONY: e2e
e2e: interop-tools ## Only the end-to-end tests: built programs, scripts, kill -9
	@$(call run-tests,-count=1,./test/e2e/...)

.PHONY: browser
browser: browser-tools ## Only the tests that look at the pages in Chromium (needs chromium, Node)
	@CI=true $(call run-tests,-count=1,./test/browser)

.PHONY: test-pkcs11
test-pkcs11: ## The tests of signing keys on a PKCS #11 token (needs SoftHSM and a C compiler)
	@CGO_ENABLED=1 $(GO) vet -tags pkcs11 ./keys/pkcs11 ./daemon
	@CGO_ENABLED=1 $(call run-tests,-race -count=1 -tags pkcs11 -run 'Token|PKCS11',./daemon)
	@CGO_ENABLED=1 $(call run-tests,-race -count=1 -tags pkcs11,./keys/pkcs11)

.PHONY: test-cabi
test-cabi: vet-cabi ## The tests of the C library: callers in C, C++ and Python (needs gcc, g++, Python 3)
	@CI=true $(call run-tests,-count=1,./client/cabi/...)

.PHONY: pg
pg: ## The tests on PostgreSQL (a private cluster, or the server that LICENSED_TEST_POSTGRES names)
	@CI=true $(call run-tests,-count=1,./store/pgstore/... ./internal/teststore ./store/open ./store/dump)
	@CI=true LICENSED_TEST_STORE=postgres $(call run-tests,-count=1,./daemon/...)

.PHONY: pg-short
pg-short: ## What CI runs of it: a daemon and its webhooks, and two games of the marketplace model, without the race detector
	@CI=true LICENSED_TEST_STORE=postgres $(call run-tests,-count=1,./daemon ./daemon/internal/webhook)
	@CI=true LICENSED_TEST_STORE=postgres $(call run-tests,-count=1 -run '^TestModelOfDaemons$$/^[12]$$',./daemon/internal/market)

.PHONY: fuzz-short
fuzz-short: ## Run every fuzz target for FUZZTIME (5s)
	@mkdir -p bin
	@$(GO) test -run '^$$' -list '^Fuzz' ./... \
	| awk '/^Fuzz/ { names[n++] = $$1 } /^(ok|FAIL|\?)/ { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 } /^FAIL/ { exit 1 }' \
	| while read -r pkg name; do \
		echo "fuzz $$pkg $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$pkg" >bin/fuzz.log 2>&1 </dev/null \
			|| { cat bin/fuzz.log; exit 1; }; \
	done

.PHONY: cover
cover: ## Measure test coverage, into bin/cover.html
	@mkdir -p bin
	@$(GO) test $(TESTFLAGS) -coverpkg=./... -coverprofile=bin/cover.out ./... >/dev/null
	@$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	@$(GO) tool cover -func=bin/cover.out | tail -1

.PHONY: bench
bench: ## Measure against the bare prototype, as ratios (BENCH=full: at 5,000,000 licences too)
	@$(GO) run ./bench

.PHONY: benchstat
benchstat: $(BENCHSTAT) ## Compare two outputs of go test -bench: OLD=file NEW=file
	@$(BENCHSTAT) $(OLD) $(NEW)

##@ To change it

.PHONY: check
check: TESTFLAGS += -vet=off # lint-all has done it
check: fmt-check lint-all cross race pg-short test-pkcs11 ## Everything that CI demands

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code (gofumpt, goimports)
	@$(GOLANGCI_LINT) fmt

.PHONY: fmt-check
fmt-check: $(GOLANGCI_LINT) ## Say what is not formatted, without writing
	@$(GOLANGCI_LINT) fmt --diff

.PHONY: vet
vet: ## go vet
	@$(GO) vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## golangci-lint as .golangci.yml says
	@$(GOLANGCI_LINT) run ./...

# It has the analyses of go vet, all of them, and sees what the two above and the one below see.
.PHONY: lint-all
lint-all: $(GOLANGCI_LINT) ## golangci-lint of everything, the C library too (needs a C compiler)
	@CGO_ENABLED=1 $(GOLANGCI_LINT) run ./...

# Without cgo the others see no more of it than an empty program.
.PHONY: vet-cabi
vet-cabi: $(GOLANGCI_LINT) ## go vet and golangci-lint of the C library (needs a C compiler)
	@CGO_ENABLED=1 $(GO) vet ./client/cabi/...
	@CGO_ENABLED=1 $(GOLANGCI_LINT) run ./client/cabi/...

.PHONY: deadcode
deadcode: $(DEADCODE) ## List functions that neither a program nor a test reaches
	@$(DEADCODE) -test ./... | sed '/^client\/cabi\//d' # what C calls is not known to it

.PHONY: cross
cross: ## Compile everything for Linux, macOS, Windows and FreeBSD
	@for os in $(SYSTEMS); do echo "build for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) build ./... || exit 1; done

.PHONY: api
api: ## Write the exported API of the public packages, and the OpenAPI documents, into testdata
	@$(GO) test -count=1 -run '^TestExportedAPI$$' . -update
	@$(GO) test -count=1 -run '^TestOpenAPIGolden$$' ./daemon -openapi.update
	@echo 'testdata/api and testdata/openapi.*.json are up to date'

.PHONY: screenshots
screenshots: browser-tools ## Write the pictures of the documents into docs/images (needs chromium, Node, a Chinese font)
	@$(GO) test -count=1 -run '^TestScreenshots$$' ./test/browser -screenshots '$(CURDIR)/docs/images'
	@ls -l docs/images

.PHONY: apidiff
apidiff: $(APIDIFF) ## Say which changes of the public packages since BASE (a tag) are incompatible
	@[ -n "$(BASE)" ] || { echo 'usage: make apidiff BASE=v1.2.3'; exit 2; }
	@old=$$(mktemp -d) && trap 'rm -rf "$$old"' EXIT \
	&& git archive "$(BASE)" | tar -x -C "$$old" \
	&& for pkg in client license license/token license/wire koogallery; do \
		(cd "$$old" && "$(CURDIR)/$(APIDIFF)" -w "$$old/export" ./$$pkg) \
		&& $(APIDIFF) "$$old/export" ./$$pkg || exit 1; \
	done

.PHONY: clean
clean: ## Delete what the other targets made, except the tools
	@rm -rf bin

# $(call npm-install,FOLDER,TARGET): what FOLDER/package-lock.json names, once. Without npm the tests that need it are
# skipped with a message, but in CI.
define npm-install
	@if [ ! -e $(2)/node_modules ] && command -v npm >/dev/null; then \
		echo 'installing $(notdir $(2)) into .tools (once)'; \
		rm -rf $(2).new && mkdir -p $(2).new \
		&& cp $(1)/package.json $(1)/package-lock.json $(2).new/ \
		&& { (cd -P $(2).new && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >log 2>&1) \
			|| { cat $(2).new/log; exit 1; }; } \
		&& rm -rf $(2) && mv $(2).new $(2); \
	fi
endef

.PHONY: interop-tools
interop-tools:
	$(call npm-install,test/e2e/testdata/interop,$(INTEROP))

.PHONY: elsewhere-tools
elsewhere-tools:
	$(call npm-install,docs/elsewhere/typescript,$(ELSEWHERE))

.PHONY: browser-tools
browser-tools:
	$(call npm-install,$(BROWSER_AT),$(BROWSER))

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# $(call install,MODULE PATH): the version is in the target's folder name.
define install
	@echo 'installing $(notdir $(@D)) into .tools (once)'
	@mkdir -p $(@D)
	@GOBIN='$(CURDIR)/$(@D)' $(GO) install $(1)@v$(lastword $(subst -v, ,$(notdir $(@D)))) 2>$(@D)/log || { cat $(@D)/log; exit 1; }
endef

$(GOLANGCI_LINT): ; $(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
$(BENCHSTAT): ; $(call install,golang.org/x/perf/cmd/benchstat)
$(APIDIFF): ; $(call install,golang.org/x/exp/cmd/apidiff)
$(DEADCODE): ; $(call install,golang.org/x/tools/cmd/deadcode)
