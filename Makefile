# SPDX-License-Identifier: Apache-2.0
# All targets use the environment .venv and write to out/. `make` lists them.

PYTHON ?= python3
PY := .venv/bin/python
SHELL := /bin/bash

# The environment contains its own ROS 2, which must not be mixed with a distribution that the shell has sourced.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH ROS_DISTRO
unexport ROS_VERSION RMW_IMPLEMENTATION ROS_LOCALHOST_ONLY _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Images between processes need a larger shared-memory segment. Discovery is limited to this machine, in a random domain.
# (The variable is FASTRTPS_... up to Jazzy and FASTDDS_... since Kilted.)
export FASTRTPS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds.xml
export FASTDDS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds.xml
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_DOMAIN_ID := $(shell echo $$((1 + RANDOM % 30)))

# Two at a time: when one ends, the next one starts. In this order both cores are busy until the end.
TESTS := check test-ros test-core test-train-parts test-packaging test-recipe

.DEFAULT_GOAL := help
.PHONY: help setup moveit demo grasp-demo test $(TESTS) test-train test-lowest lint colcon clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## create .venv: Python packages, ROS 2 wheels, generated messages (finished steps are skipped)
	@$(PYTHON) tools/setup_environment.py

moveit: setup  ## add the messages of moveit_msgs to .venv, for the planning scene node
	@$(PYTHON) -m tools.setup_moveit

demo: setup  ## play the recorded bag through the node; write picture, video, page and report to out/demo
	@$(PY) -m seqpose_ros.demo --out out/demo

grasp-demo: setup  ## send rendered pictures to the node, grasp and lift objects in simulation; output in out/grasp
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[sim]'
	@$(PY) -m train.grasp --scenes 4 --poses true_pose,plane --node --show 4 --out out/grasp

test:  ## ruff, mypy and pytest (runs setup first; also checks the system packages of the renderer)
	@$(PYTHON) tools/setup_environment.py --renderer
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(TESTS)

# A process for each package: one with OpenVINO, OpenGL, DDS and all of training loaded crashed in a native library.
# Those that use ROS have domains of their own, since two run at a time.
test-core:
	$(PY) -m pytest test/seqpose_core

test-ros:
	$(PY) -m pytest test/seqpose_ros

test-packaging:
	ROS_DOMAIN_ID=$$(($(ROS_DOMAIN_ID) + 60)) $(PY) -m pytest test/packaging test/examples

test-train: test-train-parts test-recipe

test-train-parts:
	ROS_DOMAIN_ID=$$(($(ROS_DOMAIN_ID) + 30)) $(PY) -m pytest test/train --ignore test/train/test_recipe.py

test-recipe:
	$(PY) -m pytest test/train/test_recipe.py

test-lowest:  ## core and training tests with the lowest allowed version of every dependency, in out/lowest
	$(PYTHON) -m venv out/lowest
	out/lowest/bin/pip install --quiet uv
	out/lowest/bin/uv pip install --python out/lowest/bin/python --resolution lowest-direct --editable '.[train]' \
	    hypothesis==6.90.0 pytest==8.2.0 pytest-timeout==2.3.1
	out/lowest/bin/python -m pytest test/seqpose_core test/train

lint: setup  ## ruff (rules and format) and mypy
	@$(MAKE) --no-print-directory check

check:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

colcon: setup  ## build the repository as a package of a ROS 2 workspace in out/colcon, and check the installed files
	@$(PY) tools/colcon_workspace.py out/colcon

clean:  ## remove builds, demo output and caches (keeps .venv, data and training runs)
	rm -rf out/build out/colcon out/demo out/setup.log build dist *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf .venv
