# SPDX-License-Identifier: Apache-2.0
"""GLSL of the passes: shadow depth, shaded colour (opaque, then transparent), exact labels."""

MATERIALS = 16  # largest number of materials of one draw

SHADOW_VERTEX = """
#version 330
uniform mat4 light_from_object;
in vec3 position;
void main() { gl_Position = light_from_object * vec4(position, 1.0); }
"""

SHADOW_FRAGMENT = """
#version 330
void main() {}
"""

# Diffuse light is evaluated per vertex: irradiance over pi from spherical harmonics, in the rotated environment.
VERTEX = """
#version 330
uniform mat4 world_from_object;
uniform mat4 clip_from_world;
uniform mat4 light_from_world;
uniform vec3 harmonics[9];
uniform vec2 environment_yaw;  // cosine, sine
uniform vec3 eye;
in vec3 position;
in vec3 normal;
in vec2 uv;
in float part;
out vec3 world;
out vec3 world_normal;
out vec2 surface_uv;
out vec3 light_position;
out vec3 diffuse_light;
flat out int material;
void main() {
    vec4 p = world_from_object * vec4(position, 1.0);
    world = p.xyz;
    world_normal = mat3(world_from_object) * normal;
    surface_uv = uv;
    material = int(part + 0.5);
    vec4 l = light_from_world * p;
    light_position = l.xyz * 0.5 + 0.5;
    vec3 n = dot(world_normal, eye - world) < 0.0 ? -world_normal : world_normal;
    n.xy = vec2(environment_yaw.x * n.x - environment_yaw.y * n.y, environment_yaw.y * n.x + environment_yaw.x * n.y);
    vec3 e = harmonics[0] + harmonics[1] * n.y + harmonics[2] * n.z + harmonics[3] * n.x;
    e += harmonics[4] * (n.x * n.y) + harmonics[5] * (n.y * n.z) + harmonics[6] * (3.0 * n.z * n.z - 1.0);
    e += harmonics[7] * (n.x * n.z) + harmonics[8] * (n.x * n.x - n.y * n.y);
    diffuse_light = max(e, vec3(0.02));
    gl_Position = clip_from_world * p;
}
"""

# Colour is stored as sqrt(radiance * exposure) / 2, so that 8 bits hold four times the white level.
# Reflections are read from the environment's mip levels by roughness, below the horizon from the table's colour.
FRAGMENT = """
#version 330
uniform sampler2DArray bank;
uniform sampler2DShadow shadow_map;
uniform sampler2DArray environments;
uniform sampler2D contact;     // openness of the table around the objects
uniform sampler2D behind;      // the opaque picture, read by transparent surfaces
uniform vec4 base[MATERIALS];      // linear rgb, texture mix
uniform vec4 surface[MATERIALS];   // roughness, metal, gloss, glow
uniform vec4 texturing[MATERIALS]; // layer, repeat u, repeat v, backdrop
uniform vec4 clear[MATERIALS];     // transmission, absorption, unused, unused
uniform vec4 liquid;           // linear rgb and world height of the content
uniform vec3 eye;
uniform float layer;           // of the environment
uniform vec2 environment_yaw;
uniform vec3 key_direction;
uniform vec3 key_light;
uniform vec3 table_light;      // radiance of the table
uniform float softness;        // shadow blur, fraction of the map
uniform float exposure;
uniform float contact_reach;
uniform vec2 screen;           // framebuffer size
uniform vec3 view_right;
uniform vec3 view_down;
uniform int is_room;
uniform int clear_pass;        // 0 opaque, 1 far side of transparent surfaces, 2 near side
in vec3 world;
in vec3 world_normal;
in vec2 surface_uv;
in vec3 light_position;
in vec3 diffuse_light;
flat in int material;
out vec4 colour;

vec3 environment(vec3 d, float lod) {
    d.xy = vec2(environment_yaw.x * d.x - environment_yaw.y * d.y, environment_yaw.y * d.x + environment_yaw.x * d.y);
    d /= abs(d.x) + abs(d.y) + abs(d.z);
    vec2 p = d.z >= 0.0 ? d.xy : (1.0 - abs(d.yx)) * vec2(d.x >= 0.0 ? 1.0 : -1.0, d.y >= 0.0 ? 1.0 : -1.0);
    vec3 e = textureLod(environments, vec3(p * 0.5 + 0.5, layer), lod).rgb;
    return e * e * 16.0;
}

float shadow(vec3 p, float facing) {
    if (any(lessThan(p.xy, vec2(0.0))) || any(greaterThan(p.xy, vec2(1.0)))) return 1.0;
    float angle = 6.2831853 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    vec2 turn = vec2(cos(angle), sin(angle)) * softness;
    float z = p.z - 0.0012 - 0.25 * softness * (1.0 - facing);
    float sum = texture(shadow_map, vec3(p.xy + turn * 0.35, z));
    sum += texture(shadow_map, vec3(p.xy - turn * 0.65, z));
    sum += texture(shadow_map, vec3(p.xy + vec2(-turn.y, turn.x) * 0.85, z));
    sum += texture(shadow_map, vec3(p.xy + vec2(turn.y, -turn.x), z));
    return sum * 0.25;
}

vec3 store(vec3 radiance) { return sqrt(clamp(radiance * exposure, 0.0, 4.0)) * 0.5; }

void main() {
    vec4 b = base[material];
    vec4 s = surface[material];
    vec4 t = texturing[material];
    vec3 view = normalize(eye - world);
    if (t.w > 0.5) {
        colour = vec4(store(environment(normalize(world - vec3(0.0, 0.0, 0.3)), b.a) * b.rgb), 1.0);
        return;
    }
    vec3 albedo = b.rgb;
    if (b.a > 0.0) {
        vec3 texel = texture(bank, vec3(surface_uv * t.yz, t.x)).rgb;
        albedo = mix(albedo, albedo * texel * texel, b.a);  // squared: close to sRGB decoding, and cheap
    }
    vec3 n = normalize(world_normal);
    if (dot(n, view) < 0.0) n = -n;
    float rough = s.x;
    float open = 1.0;
    if (is_room == 0) {
        open = mix(0.45, 1.0, smoothstep(-0.03, 0.07, world.z + 0.05 * n.z));
    } else if (material == 0) {
        open = texture(contact, world.xy / contact_reach * 0.5 + 0.5).r;
    }
    float facing = dot(n, key_direction);
    float lit = facing > 0.0 ? facing * shadow(light_position, facing) : 0.0;
    vec3 f0 = mix(vec3(0.04 * s.z), albedo, s.y);
    float facing_eye = clamp(dot(n, view), 0.0, 1.0);
    float grazing = 1.0 - facing_eye;
    grazing = grazing * grazing * grazing * grazing * grazing;
    vec3 fresnel = f0 + (max(vec3(1.0 - rough), f0) - f0) * grazing * clamp(s.z, 0.0, 1.0);
    vec3 r = reflect(-view, n);
    vec3 mirrored = environment(r, rough * 7.0);
    if (is_room == 0) mirrored = mix(table_light, mirrored, smoothstep(-0.12 - rough, 0.12 + 0.5 * rough, r.z));
    vec3 reflected = fresnel * mirrored * mix(open, 1.0, 0.3);
    vec3 scattered = albedo * (1.0 - s.y) * (diffuse_light * open + key_light * lit) + albedo * s.w;
    vec4 c = clear[material];
    if (clear_pass == 0) {
        colour = vec4(store(scattered + reflected), 1.0);
        return;
    }
    // Thin walls: light is absorbed along the slanted path, and the picture behind shifts with the normal.
    vec3 through = pow(albedo, vec3(c.y / (0.25 + facing_eye)));
    float milky = 1.0 - c.x;
    if (world.z < liquid.w) {
        through *= liquid.rgb;
        milky = max(milky, 0.06);
    }
    if (clear_pass == 1) {
        float cover = 1.0 - (through.r + through.g + through.b) / 3.0 * c.x;
        colour = vec4(store(scattered * milky + reflected * 0.6), cover * 0.6);
        return;
    }
    vec2 shift = vec2(dot(n, view_right), dot(n, view_down)) * (world.z < liquid.w ? -0.05 : -0.018);
    vec3 seen = texture(behind, clamp(gl_FragCoord.xy / screen + shift, vec2(0.001), vec2(0.999))).rgb;
    seen = seen * seen * 4.0 / exposure;
    colour = vec4(store(seen * through * (1.0 - milky) * (1.0 - fresnel) + scattered * milky + reflected), 1.0);
}
""".replace("MATERIALS", str(MATERIALS))

LABEL_VERTEX = """
#version 330
uniform mat4 camera_from_object;
uniform mat4 clip_from_camera;
uniform float diagonal;
in vec3 position;
in float part;
out vec3 nocs;
out float depth;
flat out int part_id;
void main() {
    vec4 p = camera_from_object * vec4(position, 1.0);
    nocs = position / diagonal + 0.5;
    depth = p.z;
    part_id = int(part + 0.5);
    gl_Position = clip_from_camera * p;
}
"""

LABEL_FRAGMENT = """
#version 330
uniform float instance;  // 1..n, 0 for the room
in vec3 nocs;
in float depth;
flat in int part_id;
layout(location = 0) out vec4 coordinate;
layout(location = 1) out vec4 geometry;  // depth in metres, instance, part
void main() {
    coordinate = vec4(instance > 0.5 ? nocs : vec3(0.0), 1.0);
    geometry = vec4(depth, instance, float(part_id), 1.0);
}
"""
