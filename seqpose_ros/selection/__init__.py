# SPDX-License-Identifier: Apache-2.0
"""Selection of one object: the service ~/select and the topics ~/selected and ~/selected_object."""
