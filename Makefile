# On a fresh Debian or Ubuntu machine, `make demo` and `make test` set up what they need, then run.
# A second run finds the set-up done: its stamp carries the hash of all that it depends on.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint soak parameters clean
.DELETE_ON_ERROR:

comma := ,
VENV ?= .venv
PYTHON ?= python3
KITTI ?=
ARGS ?=
JOBS ?= 3
# Each part of the tests runs in a process of its own, JOBS of them at once, the longest first;
# + joins folders. Two cores are busy with three parts, as the tests of ROS mostly wait; the last
# part is short, so that neither core waits for the other at the end.
OWN := test/ros test/training test/studies test/models test/runtime
PARTS := test/ros test/training+test/studies test/models \
	$(subst $() ,+,$(filter-out $(OWN) test/conftest.py test/helpers,$(wildcard test/*[a-z]))) \
	test/runtime
RUN := $(VENV)/bin/python

# A sourced ROS 2 is used as it is; elsewhere its Python wheels are installed.
ROS := $(if $(AMENT_PREFIX_PATH),$(or $(ROS_DISTRO),sourced))
HASH := $(shell { cat setup.py constraints.txt setup.sh; $(PYTHON) --version; pwd; \
	echo '$(ROS)'; } 2>&1 | sha256sum | cut -c 1-12)
READY_demo := $(VENV)/ready-demo-$(HASH)
READY_test := $(VENV)/ready-test-$(HASH)
EXTRAS_demo := openvino,synth$(if $(ROS),,$(comma)ros)
EXTRAS_test := $(EXTRAS_demo),train,test

help:  ## list the commands
	grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: $(READY_demo)  ## drive through a synthetic street, or a KITTI drive: make demo KITTI=FOLDER
	exec $(RUN) -m sync_perception.ros.tools.demo $(if $(KITTI),--kitti '$(KITTI)') $(ARGS)

test: $(READY_test)  ## lint and test
	$(VENV)/bin/ruff check .
	printf '%s\n' $(PARTS) | OMP_NUM_THREADS=1 xargs -P $(JOBS) -I PART \
		bash -c '$(RUN) -m pytest $$(echo PART | tr + " ") "$$@" || [ $$? = 5 ]' part $(ARGS)

test-all: ARGS += --exhaustive
test-all: test  ## the same with every architecture in the tests that take seconds for each

lint: $(READY_test)  ## ruff and ament's linters only
	$(VENV)/bin/ruff check .
	$(RUN) -m pytest -q test/test_copyright.py test/test_flake8.py test/test_pep257.py \
		test/test_xmllint.py test/test_structure.py --exhaustive $(ARGS)

soak: $(READY_test)  ## try for leaks, hangs and losses: make soak ARGS='--only signals --count 10'
	exec $(RUN) test/soak/soak.py $(ARGS)

parameters: $(READY_test)  ## write the parameter files in config/ and the tables in docs/
	$(RUN) -m sync_perception.ros.parameters.documents

setup: $(READY_test)  ## only set up, for demo and test alike

clean:  ## remove the environment and everything that was built or written
	rm -rf $(VENV) build install log demo_output *.egg-info .pytest_cache .ruff_cache

$(READY_demo) $(READY_test): EXTRAS = $(if $(findstring ready-test,$@),$(EXTRAS_test),$(EXTRAS_demo))
$(READY_demo) $(READY_test):
	./setup.sh '$(PYTHON)' '$(VENV)' '$(EXTRAS)' '$(ROS)'
	rm -f $(VENV)/ready-*
	touch $@ $(READY_demo)
