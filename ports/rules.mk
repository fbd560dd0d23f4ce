# The agent core on other ground: bare metal (ports/cortex-m), Zephyr (ports/zephyr). The budgets stand in README.md.
CORTEX_CC     = arm-none-eabi-gcc -mthumb -std=c99 -Os -g0 -ffreestanding -ffunction-sections -fdata-sections -fno-common \
                -Wall -Wextra -Werror -Iinclude -isystem ports/freestanding
CORTEX_CORE   = $(wildcard src/agent/*.c) src/base/jpull.c
CORTEX_DEPS   = $(CORTEX_CORE) $(wildcard include/agent/*.h include/base/jpull.h ports/freestanding/*) ports/cortex-m/sizes.c
# What a program may call keeps the rest alive; what nothing calls is left out, as in a real image.
OPENING      := (
CORTEX_ROOTS  = $(shell sed -n 's/^[a-z].*[ *]\(agent_[a-z0-9_]*\)$(OPENING).*/\1/p' include/agent/agent.h)
# Flags, and the name in the README's table. The small profile takes documents of at most 16 KiB and manifests of at most 8 KiB.
CORTEX_FLAGS_m4       = -mcpu=cortex-m4 -mfloat-abi=soft
CORTEX_NAME_m4        = Cortex-M4
CORTEX_FLAGS_m0plus   = -mcpu=cortex-m0plus -DAGENT_DOCUMENT_BYTES=16384 -DAGENT_MANIFEST_BYTES=8192
CORTEX_NAME_m0plus    = Cortex-M0+

define cortex_rules
$(B)/cortex/$(1)/core.o: $$(CORTEX_DEPS) ports/rules.mk
	@rm -rf $$(@D) && mkdir -p $$(@D)
	@echo "  ARM $(1)"
	@for f in $$(CORTEX_CORE) ports/cortex-m/sizes.c; do \
		$$(CORTEX_CC) $$(CORTEX_FLAGS_$(1)) -fcallgraph-info=su -c -o $$(@D)/$$$$(basename $$$$f .c).o $$$$f || exit 1; done
	@$$(CORTEX_CC) $$(CORTEX_FLAGS_$(1)) -r -nostdlib -Wl,--gc-sections $$(CORTEX_ROOTS:%=-Wl,-u,%) -o $$@ $$(addprefix $$(@D)/,$$(notdir $$(CORTEX_CORE:.c=.o))) -lgcc
cortex-m-$(1): $(B)/cortex/$(1)/core.o
	@$$(PYTHON) ports/cortex-m/measure.py $$(<D) --name '$$(CORTEX_NAME_$(1))' --readme README.md \
		--allowed ports/freestanding/allowed.txt
.PHONY: cortex-m-$(1)
endef
$(foreach p,m4 m0plus,$(eval $(call cortex_rules,$(p))))

cortex-m: cortex-m-m4 cortex-m-m0plus ## build the agent core for Cortex-M without a C library; print its size, fail above the budget
.PHONY: cortex-m

# The demo device as firmware, run under an emulator where there is one.
DEMO = ports/demo/demo.c ports/crypto/ed25519.c ports/crypto/sha2.c
$(B)/cortex/demo/demo_document.h: ports/demo/make_document.py
	@mkdir -p $(@D)
	@$(PYTHON) $< $@
$(B)/cortex/firmware.elf: $(B)/cortex/demo/demo_document.h $(DEMO) $(CORTEX_DEPS) $(wildcard ports/*/*.[ch]) ports/cortex-m/firmware.ld
	@echo "  ARM $@"
	@$(CORTEX_CC) $(CORTEX_FLAGS_m4) -fno-tree-loop-distribute-patterns -I$(B)/cortex/demo -nostdlib -nostartfiles -Wl,--gc-sections \
		-T ports/cortex-m/firmware.ld -o $@ ports/cortex-m/firmware.c ports/freestanding/string.c $(DEMO) $(CORTEX_CORE) -lgcc

cortex-m-demo: $(B)/cortex/firmware.elf ## the demo device on an emulated Cortex-M4 (qemu-system-arm; skipped where it is absent)
	@if ! command -v qemu-system-arm >/dev/null; then echo "cortex-m-demo: SKIP: no qemu-system-arm"; exit 0; fi; \
	out=$$(timeout 60 qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none -semihosting-config enable=on,target=native \
		-kernel $< 2>&1 </dev/null); status=$$?; \
	echo "$$out" | grep -q '^confirmed kws-2$$' && echo "$$out" | grep -q '^rejected the signature is wrong$$' && \
		echo "$$out" | grep -q '^demo: done$$' && [ $$status -eq 0 ] && echo "cortex-m-demo: confirmed" || { echo "$$out"; exit 1; }
.PHONY: cortex-m-demo

zephyr-check: ## the Zephyr module lists what the core has; its sample is built where the SDK is
	@$(PYTHON) ports/zephyr/check.py
.PHONY: zephyr-check

ifeq ($(SAN)$(COVERAGE),)
unit: cortex-m cortex-m-demo zephyr-check
endif

bench-powercut: $(B)/tests/agent/test_posix $(B)/tests/agent/test_power ## power cuts at each change of the medium, many more states a cut (minutes; AVIARY_POWERCUT_SEED=2)
	@AVIARY_POWERCUT=long $(B)/tests/agent/test_posix
	@$(B)/tests/agent/test_power
.PHONY: bench-powercut
