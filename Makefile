# Everything that CI does: make check. README's two commands need no make.
export CGO_ENABLED = 0
GO ?= go

# Packages whose goroutines share state; the race detector needs cgo and a C compiler.
RACE = ./pool/... ./invoke/... ./gateway/... ./engine/... ./trigger/... ./sandbox/frame/... ./telemetry/... ./meter/... ./service/kv/... ./control/... ./artifact/...

.PHONY: build test check format vet staticcheck race web clean

build:
	$(GO) build -trimpath -ldflags "-s -w" -o mayfly ./cmd/mayfly

test:
	$(GO) test ./...

check: format vet staticcheck test race web

format:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

race:
	CGO_ENABLED=1 $(GO) test -race -short $(RACE)

web:
	cd web && ./check

clean:
	rm -f mayfly
