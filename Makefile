# Aviary. `make help` lists what there is.

B       ?= build
PREFIX  ?= /usr/local
CC      = gcc
PYTHON  = /usr/bin/python3
VERSION := 0.1.0
JOBS    ?= $(shell nproc)
# end-to-end tests mostly wait: more of them at once than there are cores
E2E_JOBS ?= $(shell echo $$(($(JOBS) + 2)))
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(JOBS)
endif

WERROR  ?= -Werror
WARN     = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 \
           -Wimplicit-fallthrough=5 -Wcast-align -Wlogical-op -Wundef -Wdate-time -Wvla -Wwrite-strings -Wpointer-arith \
           -Wendif-labels -Wmissing-include-dirs -Wredundant-decls -Wnested-externs -Winit-self $(WERROR)
OPT     ?= -O2
ifdef SAN
SANFLAGS = -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
B       := build/san
endif
ifdef COVERAGE
OPT      = -O0
SANFLAGS = --coverage
B       := build/cov
endif
PKGS     = libuv libmicrohttpd gnutls libmosquitto sqlite3 libcjson openssl libcurl inih libsystemd
CPPFLAGS = -Iinclude -D_GNU_SOURCE -DAVIARY_VERSION='"$(VERSION)"'
CFLAGS   = -std=c11 -g $(OPT) -fno-common -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=. $(WARN) $(SANFLAGS) $(XCFLAGS)
LDFLAGS  = $(SANFLAGS) -Wl,-z,relro,-z,now $(XLDFLAGS)
# The libraries' own flags, asked once, and only when something is compiled (packages may be installed by this very run).
PKG_LIBS = $(shell pkg-config --libs $(PKGS)) -lpthread -lm

LAYERS   = base core store service net api agent
PROGRAMS = aviaryd aviaryctl aviary-agent aviary-sim
objs     = $(patsubst src/%.c,$(B)/%.o,$(wildcard src/$(1)/*.c))
main     = $(patsubst src/%.c,$(B)/main/%.o,$(wildcard src/$(1)/*.c))
LIBS     = $(foreach l,$(LAYERS),$(B)/lib$(l).a)

all: $(addprefix $(B)/,$(PROGRAMS)) ## build the programs

help: ## this list
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## /\1\t/p' Makefile | sort | expand -t 24
	@echo "Variables: B=build PREFIX=/usr/local DESTDIR= WERROR= SAN=address,undefined KEEP=1 MODEL=file"

deps: ## install the Debian packages that are missing
	@.ci/install

$(B)/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Programs' own objects: beside the programs, whose names are those of their source directories.
$(B)/main/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# libaviary-agent is C99 and freestanding in spirit: no extensions.
$(B)/agent/%.o: src/agent/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) -Iinclude $(CFLAGS) -std=c99 -MMD -MP -c -o $@ $<

$(B)/sql_embedded.c: $(wildcard sql/*/*.sql) sql/embed
	@mkdir -p $(@D)
	@sh sql/embed fleet sql/fleet telemetry sql/telemetry > $@.tmp && mv $@.tmp $@
$(B)/sql_embedded.o: $(B)/sql_embedded.c
	@$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-overlength-strings -c -o $@ $<

define layer_lib
$(B)/lib$(1).a: $(call objs,$(1)) $(if $(filter store,$(1)),$(B)/sql_embedded.o)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_lib,$(l))))

lib = $(foreach l,$(1),$(B)/lib$(l).a)
define program
$(B)/$(1): $(call main,$(1)) $(call lib,$(2))
	@echo "  LD $$@"
	@$(CC) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(PKG_LIBS)
endef
$(eval $(call program,aviaryd,api service store core net base))
$(eval $(call program,aviaryctl,net core base))
$(eval $(call program,aviary-agent,agent net base))
$(eval $(call program,aviary-sim,agent net core base))

# Unit tests: one program a file; what it may link is what its layer may include, so that an impurity breaks the link.
UNIT_base    = base
UNIT_core    = core base
UNIT_store   = store core base
UNIT_net     = net base
UNIT_service = service store core base
UNIT_api     = api service store core net base
UNIT_agent   = agent base
PURE_LIBS    = -lcmocka -lm $(shell pkg-config --libs libcjson openssl)
define unit_rules
UNIT_TESTS += $(patsubst tests/unit/$(1)/%.c,$(B)/tests/$(1)/%,$(wildcard tests/unit/$(1)/test_*.c))
$(B)/tests/$(1)/%: tests/unit/$(1)/%.c $(call lib,$(UNIT_$(1)))
	@mkdir -p $$(@D)
	@echo "  TEST $$<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $$@.d $(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
		$(if $(filter base core agent,$(1)),$$(PURE_LIBS),$$(PKG_LIBS) -lcmocka)
endef
$(foreach l,$(LAYERS),$(eval $(call unit_rules,$(l))))
-include $(wildcard $(B)/*/*.d $(B)/main/*/*.d $(B)/tests/*/*.d)

unit: $(UNIT_TESTS) ## run the unit tests
	@for t in $(sort $(UNIT_TESTS)); do echo "== $$t"; $$t || exit 1; done

e2e: all $(B)/bench/seed_fleet ## run the end-to-end tests (real broker, real daemon)
	$(PYTHON) -m pytest -q -p no:cacheprovider -n $(E2E_JOBS) tests/e2e --build $(B) $(E2E)

demo: deps ## set up everything and show the main job (KEEP=1 MODEL=file)
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/demo.py --build $(B) $(if $(KEEP),--keep) $(if $(MODEL),--model '$(MODEL)')

lint: deps ## layers, SQL, scripts, documents
	$(PYTHON) tests/lint/run.py

check: deps ## install what is missing, then run every test
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory unit
	@$(if $(SAN),,$(MAKE) --no-print-directory coverage)
	@$(MAKE) --no-print-directory e2e

coverage: ## line coverage of core/ by its unit tests; fails below 95 %
	@$(MAKE) --no-print-directory COVERAGE=1 B=build/cov coverage-run

coverage-run: $(filter $(B)/tests/core/%,$(UNIT_TESTS))
	@find $(B) -name '*.gcda' -delete
	@for t in $(sort $^); do $$t >/dev/null 2>&1 || { echo "$$t failed"; exit 1; }; done
	@gcovr --root . --filter src/core/ --object-directory $(B)/core $(B)/core --fail-under-line 95

INSTALLED_MAN = $(wildcard docs/man/*.[158])
install: all ## install below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/aviary/docs \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)/etc/aviary
	install -m 755 $(addprefix $(B)/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	sed 's|/usr/local/bin|$(PREFIX)/bin|' systemd/aviaryd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/aviaryd.service
	install -m 644 README.md CHANGES.md LICENSE config/mosquitto.conf $(DESTDIR)$(PREFIX)/share/doc/aviary
	install -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/aviary/docs
	test -e $(DESTDIR)/etc/aviary/aviaryd.conf || install -m 644 config/aviaryd.conf $(DESTDIR)/etc/aviary
	for page in $(INSTALLED_MAN); do section=$${page##*.}; install -d $(DESTDIR)$(PREFIX)/share/man/man$$section; \
		install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$$section; done
	install -m 644 config/completion/aviaryctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/aviaryctl
	install -m 644 config/completion/_aviaryctl $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_aviaryctl

clean: ## remove what was built
	rm -rf build

.PHONY: all coverage coverage-run install demo help deps unit e2e lint check clean

# Fuzzing: `make fuzz` (clang, sanitizers) searches for FUZZ_SECONDS each; `make fuzz-corpus` replays the stored inputs.
FUZZ         = telemetry report answer rsql jpull tflite onnx executorch choose upstream
FUZZ_SECONDS ?= 60
FUZZ_CC      = clang -std=c11 -g -O1 -Wall -Wextra -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_LIBS    = -lm $(shell pkg-config --libs libcjson openssl)
FUZZ_SOURCES = $(wildcard src/base/*.c src/core/*.c)
FUZZ_HEADERS = $(wildcard tests/fuzz/*.h) $(wildcard include/base/*.h include/core/*.h)

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_HEADERS) $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	@echo "  FUZZ $<"
	@$(FUZZ_CC) $(CPPFLAGS) -o $@ $< $(FUZZ_SOURCES) $(FUZZ_LIBS)

$(B)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(FUZZ_HEADERS) $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  TEST $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(FUZZ_LIBS)

fuzz: $(FUZZ:%=$(B)/fuzz/fuzz_%) ## search for inputs that break a parser (FUZZ_SECONDS=60 each, clang)
	@for f in $(FUZZ); do mkdir -p $(B)/fuzz/$$f; \
		$(B)/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -max_len=70000 \
			-artifact_prefix=$(B)/fuzz/$$f- $(B)/fuzz/$$f tests/fuzz/corpus/$$f || exit 1; done

fuzz-corpus: $(FUZZ:%=$(B)/fuzz/replay_%)
	@for f in $(FUZZ); do $(B)/fuzz/replay_$$f tests/fuzz/corpus/$$f || exit 1; done

unit: fuzz-corpus
.PHONY: fuzz fuzz-corpus

# The judge against its competitors on the simulated fleet of docs/judge.md; less of it: BENCH='--scale 0.1 6a 6b'.
$(B)/bench/judge_sim: tests/bench/judge_sim.c $(wildcard tests/bench/judge_*.h) $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm \
		$(shell pkg-config --libs libcjson openssl)

bench-judge: $(B)/bench/judge_sim ## false reverts and speed of detection of the judge and of others (about 20 minutes)
	@$< $(BENCH)
.PHONY: bench-judge

# The full form with constants of half of the benchmark's files: it includes the source of core/novelty.c to change them.
$(B)/bench/nab_halves: tests/bench/nab_halves.c src/core/novelty.c include/core/novelty.h
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lm

bench-nab: $(B)/aviaryctl $(B)/bench/nab_halves ## scores on the Numenta Anomaly Benchmark, changed corpora, held-out halves (NAB=a checkout of it, a minute)
	@$(PYTHON) tests/bench/detect_nab.py --build $(B) --nab $(NAB)
.PHONY: bench-nab

# What a sample of detection costs; each program measures an idle walk over the same memory beside it.
DETECT_COSTS = $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/novelty_cost.c tests/bench/watch_cost.c))
$(DETECT_COSTS): $(B)/bench/%: tests/bench/%.c $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm $(shell pkg-config --libs libcjson openssl)

# The paging layer as processors without AVX2 and SSE 4.1 have it.
$(B)/bench/watch_cost_generic: tests/bench/watch_cost.c $(wildcard src/core/watch*.c) $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -DWATCH_GENERIC $(LDFLAGS) -o $@ $(filter %.c,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm \
		$(shell pkg-config --libs libcjson openssl)

bench-detect-cost: $(DETECT_COSTS) $(B)/bench/watch_cost_generic ## ns a sample of the score and of the paging layer, hot and over 4,000,000 series (half a minute, 1.6 GB)
	@for p in $(sort $^); do $$p || exit 1; done
.PHONY: bench-detect-cost

# What pages, on the simulated fleet of docs/detect.md; less of it: DETECT='--devices 1000 --failing 5 7'.
DETECT ?= 101 102 103 104
$(B)/bench/detect_sim: tests/bench/detect_sim.c tests/bench/detect_fleet.h $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm $(shell pkg-config --libs libcjson openssl)

bench-detect: $(B)/bench/detect_sim ## false alerts, detection and delay of what pages over 160,000 device-days (about 4 minutes)
	@$< $(DETECT)
.PHONY: bench-detect

# What detection costs in the daemon: states in random order, reports from packed batches; others: DAEMON='4000000 full'.
$(B)/bench/detect_cost: tests/bench/detect_cost.c $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS)

bench-detect-daemon: $(B)/bench/detect_cost ## ns a report through detection over 1,000,000 devices in random order (half a minute, 1.5 GB)
	@$< $(DAEMON)
.PHONY: bench-detect-daemon

# Who holds the loop, and how long: a rollout over a fleet of a million, phase by phase; less of it: PLAN='--devices 50000'.
$(B)/bench/seed_fleet: tests/bench/seed_fleet.c $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS)

bench-plan: all $(B)/bench/seed_fleet ## longest holds of the loop in a rollout over 1,000,000 devices (about 10 minutes, PLAN='--json FILE')
	$(PYTHON) tests/bench/bench_plan.py --build $(B) $(PLAN)
.PHONY: bench-plan

# A storm through the daemon, with 100 kills: what is told, how soon, and that nothing is lost; less of it: STORM='--devices 10000 --kills 10'.
bench-storm: all $(B)/tests/service/test_alert_storm ## 100,000 devices of a cohort fail within a minute, the daemon is killed 100 times (about 10 minutes)
	AVIARY_STORM_DEVICES=100000 $(B)/tests/service/test_alert_storm
	$(PYTHON) tests/bench/bench_storm.py --build $(B) $(STORM)
.PHONY: bench-storm

# A look at a large stage: what it takes of the loop, in pieces, and what its job takes beside it; other sizes: LOOK='4096 23'.
$(B)/bench/look_pieces: tests/bench/look_pieces.c $(wildcard tests/unit/service/*_world.h) $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka

bench-look: $(B)/bench/look_pieces ## longest piece of a look at 2,000 blocks of 51 (about a minute)
	@$< $(LOOK)
.PHONY: bench-look

# The rest of a large rollout, phase by phase, on stores and services alone; other sizes: BEGIN=1000000.
$(B)/bench/begin_pieces: tests/bench/begin_pieces.c $(wildcard tests/unit/service/*_world.h) $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka

bench-begin: $(B)/bench/begin_pieces ## longest piece of a stage's begin, a revert, a deletion at 100,000 devices (about a minute)
	@$< $(BEGIN)
.PHONY: bench-begin

# Health checks over a fleet, phase by phase, on stores and services alone; other sizes: HEALTH=100000.
$(B)/bench/health_pieces: tests/bench/health_pieces.c $(wildcard tests/unit/service/*_world.h) $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka

bench-health: $(B)/bench/health_pieces ## longest piece and memory of health checks over 1,000,000 devices (about three minutes)
	@$< $(HEALTH)
.PHONY: bench-health

# Fleet drift on simulated cohorts: null and power; less of it: DRIFT='--hours 1000'.
$(B)/bench/drift_sim: tests/bench/drift_sim.c tests/bench/drift_fleet.h $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm

bench-drift: $(B)/bench/drift_sim ## false alarms and power of fleet drift (about two minutes)
	@$< $(DRIFT)
.PHONY: bench-drift

# What a message costs, against a subscriber that does nothing; less of it: INGEST='--devices 100000 --messages 50000 --runs 3'.
# And a request, against a server that gives a constant answer: HTTP='--devices 100000'.
BENCH_CLIENTS = $(patsubst %,$(B)/bench/%,mqtt_load mqtt_bare http_load http_bare list_bare store_bare)
$(BENCH_CLIENTS): $(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(PKG_LIBS)

bench-ingest: all $(B)/bench/seed_fleet $(BENCH_CLIENTS) ## processor time of a telemetry message against an empty subscriber, 1,000,000 devices (about 5 minutes)
	$(PYTHON) tests/bench/bench_ingest.py --build $(B) $(INGEST)
.PHONY: bench-ingest

bench-http: all $(B)/bench/seed_fleet $(BENCH_CLIENTS) ## processor time of REST requests against a bare libmicrohttpd, 1,000,000 devices (about 3 minutes)
	$(PYTHON) tests/bench/bench_http.py --build $(B) $(HTTP)
.PHONY: bench-http

bench-store: all $(B)/bench/seed_fleet $(BENCH_CLIENTS) ## writes a second of POST with a durable answer against SQLite's own (about 3 minutes)
	$(PYTHON) tests/bench/bench_store.py --build $(B) $(STORE)
.PHONY: bench-store

bench-artifact: all $(BENCH_CLIENTS) ## processor time for a gigabyte of artifacts against nginx with sendfile (about 2 minutes; needs nginx)
	$(PYTHON) tests/bench/bench_artifact.py --build $(B) $(ARTIFACT)
.PHONY: bench-artifact

# Every hot path against its bare limit, into one file; smaller: BENCH='--devices 100000 --runs 3'. What moved since: make bench-compare BASE=file.json
BENCH_JSON ?= $(B)/bench.json
bench: all $(B)/bench/seed_fleet $(BENCH_CLIENTS) ## bench-ingest, -http, -store, -poll and -artifact with figures in build/bench.json (about 15 minutes)
	$(PYTHON) tests/bench/bench_all.py --build $(B) --json $(BENCH_JSON) $(BENCH)
.PHONY: bench

bench-compare: ## what moved between BASE=file.json and build/bench.json (or BENCH_JSON=)
	@$(PYTHON) tests/bench/compare.py $(BASE) $(BENCH_JSON)
.PHONY: bench-compare

bench-poll: all $(BENCH_CLIENTS) ## processor time of a DDI poll against a bare libmicrohttpd, 100,000 devices (about two minutes)
	$(PYTHON) tests/bench/bench_poll.py --build $(B) $(POLL)
.PHONY: bench-poll

include ports/rules.mk

# Choosing variants for a million devices.
$(B)/bench/bench_select: tests/bench/bench_select.c $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm $(shell pkg-config --libs libcjson openssl)

bench-select: $(B)/bench/bench_select ## CPU time of choosing among six variants for 1,000,000 devices (ten seconds)
	@$<
.PHONY: bench-select

# The same through the service: a fleet in a database, its classes and choices; less of it: SELECTION=100000.
$(B)/bench/selection_fleet: tests/bench/selection_fleet.c $(wildcard tests/unit/service/*_world.h) $(call lib,service store core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka

bench-selection: $(B)/bench/selection_fleet ## CPU time and longest piece of a survey of 1,000,000 devices with six variants (about two minutes)
	@$< $(SELECTION)
.PHONY: bench-selection

# How long readers take: fails above 1 ms a MB; other files: MODELS='a.tflite b.onnx'.
MODELS ?= $(wildcard ../shared/data/models/*.tflite)
$(B)/bench/model_read: tests/bench/model_read.c $(call lib,core base)
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm $(shell pkg-config --libs libcjson openssl)

bench-model-read: $(B)/bench/model_read ## time to read model files, and memory for it (a second)
	@$< $(MODELS)
.PHONY: bench-model-read
